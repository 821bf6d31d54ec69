import fc from "fast-check";
import t from "tap";
import { joinNames, listedNameOf, type Naming, nameTopLevel, ownNameOf } from "../../src/source/top-level.ts";

/** Paths that end in `:` are directories here. */
function names(paths: readonly string[], naming?: Naming): string[] {
  const named = paths.map((path) => ({
    path: Buffer.from(path.replace(/:$/, ""), "latin1"),
    isDirectory: path.endsWith(":"),
  }));
  return nameTopLevel(named, naming).map(({ name }) => name.toString("latin1"));
}

t.test("a path's own name", async (t) => {
  const cases: Record<string, string> = {
    photos: "photos",
    "photos/": "",
    "photos//": "",
    "photos/.": "",
    "photos/..": "",
    "./photos": "photos",
    "a/b/c.txt": "c.txt",
    "../c.txt": "c.txt",
    "/etc": "etc",
    "/": "",
    ".": "",
    "./": "",
    "..": "",
    "...": "...",
    ".config": ".config",
    "a/\xff": "\xff",
    "a\\b": "a\\b",
  };
  for (const [path, name] of Object.entries(cases)) {
    t.equal(ownNameOf(Buffer.from(path, "latin1")).toString("latin1"), name, path);
  }
  t.throws(() => ownNameOf(Buffer.alloc(0)), { code: "E_USAGE" });
});

t.test("names at the destination", async (t) => {
  t.strictSame(names(["photos:", "a/b/c.txt"]), ["photos", "c.txt"]);
  t.strictSame(names(["photos/:", "c"], { into: "x/y//" }), ["x/y", "x/y/c"]);
  t.strictSame(names(["c"], { into: "x", name: "d" }), ["x/d"]);
  t.strictSame(names(["photos:"], { name: "pictures" }), ["pictures"]);
  t.strictSame(names(["photos/:"], { name: "pictures" }), ["pictures"]);
  t.strictSame(names([]), []);
  t.throws(() => names(["a", "b"], { name: "c" }), {
    code: "E_USAGE",
    message: "--name names one file, and 2 are to be sent",
  });
});

t.test("the same name twice", async (t) => {
  for (const paths of [
    ["a/x", "b/x"],
    ["x", "x"],
    ["a/x", "b/x:"],
    ["a/x:", "b/x"],
    ["y", "a/x:", "b/x:", "x"],
  ]) {
    t.throws(
      () => names(paths),
      { code: "E_USAGE", message: /would both be named 'x' at the destination$/ },
      paths.join(" "),
    );
  }
  t.throws(() => names(["a/x", "x"], { into: "d" }), {
    message: "'a/x' and 'x' would both be named 'd/x' at the destination",
  });
  t.strictSame(names(["a/x:", "b/x:"]), ["x", "x"], "directories are put together");
  t.strictSame(names(["a/:", "b/:", "."]), ["", "", ""], "and so is what they hold");
  t.strictSame(names(["\xff", "\xfe"]), ["\xff", "\xfe"], "names are bytes");
});

t.test("paths out of a list keep their directories", async (t) => {
  const cases: Record<string, string> = {
    "a/b/c.txt": "a/b/c.txt",
    "./a//b/": "a/b",
    "/etc/hosts": "etc/hosts",
    ".": "",
    "/": "",
    "a/...": "a/...",
    "a/\xff": "a/\xff",
  };
  for (const [path, name] of Object.entries(cases)) {
    t.equal(listedNameOf(Buffer.from(path, "latin1")).toString("latin1"), name, path);
  }
  for (const path of ["..", "../a", "a/../b", "a/.."]) {
    t.throws(() => listedNameOf(Buffer.from(path)), { code: "E_NAME" }, path);
  }
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("a", ".", "/"), maxLength: 12 }), (path) => {
      let name: string;
      try {
        name = String(listedNameOf(Buffer.from(path)));
      } catch {
        return path.split("/").includes("..");
      }
      return name === "" || name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
    }),
  );
});

t.test("names one below the other", async (t) => {
  const join = (...parts: string[]) => String(joinNames(...parts.map((part) => Buffer.from(part))));
  t.strictSame([join(), join("", ""), join("a"), join("", "a", "", "b")], ["", "", "a", "a/b"]);
});
