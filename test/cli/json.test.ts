import t from "tap";
import { ListDocument, milliseconds, toJson } from "../../src/cli/json.ts";

t.test("JSON that is harmless on a terminal and the same to a parser", async (t) => {
  const value = { name: "a\u001b[31m\u007f\u0085\u202e\ufeffb", more: "naïve 😀" };
  const json = toJson(value);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  t.notMatch(json, /[\u0000-\u001f\u007f-\u009f\u202e\ufeff]/u);
  t.match(json, "naïve 😀");
  t.same(JSON.parse(json), value);
});

t.test("every mark that reorders or hides text, those beyond 16 bits as well", async (t) => {
  for (const point of [0x7f, 0x9b, 0xad, 0x61c, 0x180e, 0x200b, 0x202e, 0x2028, 0x2069, 0xfeff, 0xfff9, 0xe0041]) {
    const value = { [`a${String.fromCodePoint(point)}`]: String.fromCodePoint(point) };
    const json = toJson(value);
    t.match(json, /^[ -~]*$/, point.toString(16));
    t.same(JSON.parse(json), value);
  }
});

function written(fill: (document: ListDocument) => void): string {
  let text = "";
  fill(
    new ListDocument("files", (more) => {
      text += more;
    }),
  );
  return text;
}

t.test("a document with a list: golden", async (t) => {
  t.equal(
    written((document) => {
      document.add({ a: 1 });
      document.add({ a: 2 });
      document.finish({ ok: true, n: 2 });
    }),
    '{"files":[\n{"a":1},\n{"a":2}\n],"ok":true,"n":2}\n',
  );
  t.equal(
    written((document) => document.finish({ ok: false })),
    '{"files":[],"ok":false}\n',
  );
  t.equal(
    written((document) => document.finish({})),
    '{"files":[]}\n',
  );
});

t.test("lists in the list", async (t) => {
  const text = written((document) => {
    document.addWithList({ id: 1 }, "names", ["a", "b"]);
    document.addWithList({ id: 2 }, "names", []);
    document.finish({});
  });
  t.same(JSON.parse(text), {
    files: [
      { id: 1, names: ["a", "b"] },
      { id: 2, names: [] },
    ],
  });
});

t.test("it is finished once", async (t) => {
  const text = written((document) => {
    document.finish({ ok: true });
    document.finish({ ok: false });
    t.ok(document.finished);
  });
  t.equal(text, '{"files":[],"ok":true}\n');
});

t.test("entries are written as they come", async (t) => {
  const parts: string[] = [];
  const document = new ListDocument("files", (text) => parts.push(text));
  t.same(parts, [], "nothing before there is something");
  document.add(1);
  t.equal(parts.join(""), '{"files":[\n1');
});

t.test("times", async (t) => {
  t.equal(milliseconds(58.69942099999997), 58.699);
});
