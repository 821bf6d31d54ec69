import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import fc from "fast-check";
import t from "tap";
import { pathsIn, readFileList } from "../../src/source/file-list.ts";

const latin1 = (text: string) => Buffer.from(text, "latin1");

async function* pieces(...texts: string[]) {
  for (const text of texts) yield latin1(text);
}

async function all(paths: AsyncIterable<Buffer>): Promise<string[]> {
  const found: string[] = [];
  for await (const path of paths) found.push(path.toString("latin1"));
  return found;
}

const listed = (...texts: string[]) => all(pathsIn(pieces(...texts), "'list'"));
const long = "x".repeat(4095);

t.test("newlines or NULs", async (t) => {
  const cases: [string, string[]][] = [
    ["", []],
    ["\n\n", []],
    ["\0\0", []],
    ["a", ["a"]],
    ["a\nb\n", ["a", "b"]],
    ["a\r\nb\r\r\n\r\nc\r", ["a", "b\r", "c"]],
    ["a\0b\nc\r\0\0 \0", ["a", "b\nc\r", " "]],
    ["b\nc\0", ["b\nc"]],
    ["a\xff\n-x\n", ["a\xff", "-x"]],
    [`${long}\n${long}\r\n`, [long, long]],
    [`${long}\0${long}`, [long, long]],
  ];
  for (const [text, expected] of cases) {
    t.strictSame(await listed(text), expected, JSON.stringify(text.slice(0, 20)));
    if (text.length < 100) t.strictSame(await listed(...text), expected, "byte by byte");
  }
});

t.test("what is no list of paths", async (t) => {
  const cases: [string, RegExp][] = [
    [`a\n${long}y\nb`, /^path 2 in 'list' is longer than 4095 bytes; it begins with 'x{40}'$/],
    [`${long}yz`, /^path 1 in 'list' is longer/],
    [`${"\r".repeat(5000)}\n`, /^path 1 .* longer .* '(\\u\{d\}){40}'$/],
    [`a\0${long}y\0`, /^path 2/],
    ["x".repeat(100_000), /^path 1/],
    [`${"short\n".repeat(1000)}x\0y\n`, /^path 1001 in 'list' contains a NUL byte/],
  ];
  for (const [text, message] of cases) {
    await t.rejects(listed(text), { code: "E_CONFIG", message }, String(message));
    await t.rejects(listed(...(text.match(/.{1,1000}/gs) ?? [])), { code: "E_CONFIG", message }, "in pieces");
  }
});

t.test("any list, cut anywhere", async () => {
  const path = fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) =>
    latin1(String.fromCharCode(...bytes))
      .toString("latin1")
      .replace(/[\0\r]/g, "_"),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(path, { maxLength: 30 }),
      fc.boolean(),
      fc.array(fc.nat({ max: 500 }), { maxLength: 10 }),
      async (paths, isNul, cuts) => {
        const expected = isNul ? paths : paths.flatMap((path) => path.split("\n")).filter((path) => path !== "");
        const text = expected.map((path) => path + (isNul ? "\0" : "\n")).join("");
        const at = [...cuts.map((cut) => Math.min(cut, text.length)).sort((a, b) => a - b), text.length];
        const found = await listed(...at.map((end, i) => text.slice(at[i - 1] ?? 0, end)));
        return found.length === expected.length && found.every((path, i) => path === expected[i]);
      },
    ),
  );
});

t.test("a slow producer: what is there is given at once", async (t) => {
  for (const [separator, head] of [
    ["\0", ""],
    ["\n", `${"x".repeat(4095)}\n`],
  ] as const) {
    const stream = new PassThrough();
    const paths = pathsIn(stream, "'list'");
    if (head !== "") {
      stream.write(head);
      await paths.next();
    }
    for (const name of ["a", "b"]) {
      stream.write(`${name}${separator}hal`);
      t.equal(String((await paths.next()).value), name === "a" ? "a" : "halb");
    }
    stream.end(`f${separator}`);
    t.equal(String((await paths.next()).value), "half");
    t.ok((await paths.next()).done);
  }
});

t.test("a hundred thousand paths, read as they are taken", async (t) => {
  const batch = Array.from({ length: 1000 }, (_, i) => `directory/file-${i}\n`).join("");
  let given = 0;
  let taken = 0;
  let ahead = 0;
  async function* batches() {
    for (; given < 100; given++) yield Buffer.from(batch);
  }
  for await (const path of pathsIn(batches(), "'list'")) {
    taken++;
    ahead = Math.max(ahead, given - taken / 1000);
    if (path.buffer.byteLength > 64 * 1024) t.fail("a path keeps more than itself in memory");
  }
  t.equal(taken, 100_000);
  t.ok(ahead <= 1, "never more than the batch at hand");
});

t.test("from a file", async (t) => {
  const dir = t.testdir();
  writeFileSync(join(dir, "list"), `${"a/b\n".repeat(20_000)}last`);
  const found = await all(readFileList(join(dir, "list")));
  t.strictSame([found.length, found.at(-1)], [20_001, "last"]);
  mkdirSync(join(dir, "d"));
  const cases: Record<string, RegExp> = {
    none: /^the list of files in '.*none' can't be read: it does not exist$/,
    d: /can't be read: EISDIR: illegal operation on a directory$/,
  };
  for (const [name, message] of Object.entries(cases)) {
    await t.rejects(all(readFileList(join(dir, name))), { code: "E_CONFIG", message }, name);
  }
  t.strictSame(await all(readFileList("-", () => pieces("a\nb"))), ["a", "b"], "or what stands for standard input");
  await t.rejects(all(readFileList("-", () => pieces("x".repeat(5000)))), {
    message: /path 1 in standard input is longer/,
  });
});

t.test("from standard input, and it ends although the producer doesn't", async (t) => {
  const list = join(import.meta.dirname, "..", "..", "src", "source", "file-list.ts");
  const script = `
    import { readFileList } from ${JSON.stringify(list)};
    for await (const path of readFileList("-")) {
      console.log(String(path));
      if (String(path) === "enough") break;
    }
    console.log("over");`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["pipe", "pipe", "inherit"] });
  t.teardown(() => child.kill("SIGKILL"));
  let said = "";
  child.stdout.on("data", (data) => {
    said += data;
  });
  child.stdin.write("a\0eno");
  await once(child.stdout, "data");
  t.equal(said, "a\n", "before the rest is there");
  child.stdin.write("ugh\0more\0");
  const [code] = await once(child, "close");
  t.strictSame([code, said], [0, "a\nenough\nover\n"]);
  child.stdin.destroy();
});
