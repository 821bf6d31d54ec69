import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { byteTextOf } from "../../src/protocol/byte-text.ts";
import { NAME_BYTES_MAX } from "../../src/protocol/limits.ts";
import { componentsOf, displayName, escapeText, isPlainName, nameRefusal } from "../../src/protocol/names.ts";
import { hexOf } from "../helpers/vectors.ts";

/** Characters as UTF-8; "\xNN" in a `raw` name is that byte. */
const utf8 = (text: string) => Uint8Array.from(Buffer.from(text, "utf8"));
const raw = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));

/** A name, and what each platform says: taken where it is undefined, else what the refusal says. */
const CORPUS: [name: string | Uint8Array, posix: RegExp | undefined, windows: RegExp | undefined][] = [
  ["a", undefined, undefined],
  ["a/b/c.txt", undefined, undefined],
  ["plan 2026 (final).txt", undefined, undefined],
  [".bashrc", undefined, undefined],
  ["...", undefined, /dot or a space/],
  ["..a", undefined, undefined],
  ["caf\u00e9/\u6f22\u5b57/\u{1f6a2}", undefined, undefined],
  ["-rf", undefined, undefined],
  ["~", undefined, undefined],
  ["$HOME", undefined, undefined],
  ["'quoted'", undefined, undefined],
  ["a\tb", undefined, /control character/],
  ["a\nb", undefined, /control character/],
  ["\u001b[31mred", undefined, /control character/],
  ['say "hi"', undefined, /is allowed/],
  ["a\\b", undefined, /is allowed/],
  ["..\\..\\etc", undefined, /is allowed/],
  ["C:\\x", undefined, /is allowed/],
  ["C:x", undefined, /is allowed/],
  ["file.txt:stream", undefined, /is allowed/],
  ["what?", undefined, /is allowed/],
  ["a*b", undefined, /is allowed/],
  ["a<b>c|d", undefined, /is allowed/],
  ["ends with dot.", undefined, /dot or a space/],
  ["ends with space ", undefined, /dot or a space/],
  ["inner. /x", undefined, /dot or a space/],
  [" starts with space", undefined, undefined],
  ["CON", undefined, /device/],
  ["con", undefined, /device/],
  ["dir/nul.txt", undefined, /device/],
  ["AUX.tar.gz", undefined, /device/],
  ["prn", undefined, /device/],
  ["com1", undefined, /device/],
  ["LPT9.log", undefined, /device/],
  ["com\u00b9", undefined, /device/],
  ["CONIN$", undefined, /device/],
  ["conout$", undefined, /device/],
  ["console", undefined, undefined],
  ["com10", undefined, undefined],
  ["xcon", undefined, undefined],
  ["con-fig", undefined, undefined],
  [raw("caf\xe9"), undefined, /not UTF-8/],
  [raw("\xff\xfe"), undefined, /not UTF-8/],
  [raw("\xed\xa0\x80"), undefined, /not UTF-8/],
  [raw("overlong \xc0\xafetc"), undefined, /not UTF-8/],
  ["", /empty/, /empty/],
  [".", /not a name/, /not a name/],
  ["..", /leads out/, /leads out/],
  ["./a", /not a name/, /not a name/],
  ["../a", /leads out/, /leads out/],
  ["a/..", /leads out/, /leads out/],
  ["a/../b", /leads out/, /leads out/],
  ["a/./b", /not a name/, /not a name/],
  ["a//b", /component of it is empty/, /component of it is empty/],
  ["a/", /component of it is empty/, /component of it is empty/],
  ["/", /absolute/, /absolute/],
  ["/etc/passwd", /absolute/, /absolute/],
  ["//server/share", /absolute/, /absolute/],
  ["a\0b", /NUL/, /NUL/],
  ["\0", /NUL/, /NUL/],
  ["a/b\0.txt", /NUL/, /NUL/],
  [".hawser", /belongs to the server/, /belongs to the server/],
  [".hawser/x", /belongs to the server/, /belongs to the server/],
  [".HAWSER", /belongs to the server/, /belongs to the server/],
  [".Hawser/parts/1", /belongs to the server/, /belongs to the server/],
  [".hawser.", undefined, /belongs to the server/],
  [".hawser . .", undefined, /belongs to the server/],
  [".hawser2", undefined, undefined],
  ["hawser", undefined, undefined],
  ["a/.hawser", /belongs to the server/, /belongs to the server/],
  ["x".repeat(255), undefined, undefined],
  ["x".repeat(256), /256 bytes long, and 255/, /256 bytes long, and 255/],
  ["\u00e9".repeat(127), undefined, undefined],
  ["\u00e9".repeat(128), /256 bytes long, and 255/, /256 bytes long, and 255/],
  [`${"d/".repeat(2047)}x`, undefined, undefined],
  [`${"d/".repeat(2047)}xy`, /4096 bytes long, and 4095/, /4096 bytes long, and 4095/],
];

const shown = (name: string | Uint8Array) => displayName(typeof name === "string" ? utf8(name) : name).slice(0, 40);

for (const platform of ["posix", "windows"] as const) {
  t.test(`names on ${platform}`, async (t) => {
    for (const [name, posix, windows] of CORPUS) {
      const expected = platform === "posix" ? posix : windows;
      const refusal = nameRefusal(typeof name === "string" ? utf8(name) : name, platform);
      if (expected === undefined) t.equal(refusal, undefined, `'${shown(name)}' is taken`);
      else t.match(refusal ?? "taken", expected, `'${shown(name)}' is refused`);
    }
  });
}

/** Bytes that matter more often than chance would have it. */
const anyName = fc
  .array(fc.oneof(fc.constantFrom(0x2f, 0x2e, 0x00, 0x5c, 0x3a, 0x20, 0x61), fc.nat(255)), { maxLength: 24 })
  .map((bytes) => Uint8Array.from(bytes));

t.test("a plain name is one that is taken", async (t) => {
  const names = CORPUS.map(([name]) => byteTextOf(typeof name === "string" ? utf8(name) : name));
  for (const long of [
    "a".repeat(255),
    `${"a".repeat(255)}/b`,
    "a".repeat(256),
    "a/".repeat(NAME_BYTES_MAX),
    "a/.hawser",
  ])
    names.push(long, `d/${long}`);
  let plain = 0;
  const check = (name: string) => {
    if (!isPlainName(name)) return;
    plain++;
    assert.equal(nameRefusal(raw(name), "posix"), undefined, name);
  };
  for (const name of names) check(name);
  fc.assert(
    fc.property(anyName, (name) => check(byteTextOf(name))),
    { numRuns: 2000 },
  );
  t.ok(plain > 100);
  for (const name of ["a", "a/b/c.txt", "photos/IMG_0001.JPG", "a b/~c", "a".repeat(255)])
    t.ok(isPlainName(name), name);
  for (const name of ["", "/", "a/", "/a", "a//b", ".", "a/..", ".hawser", "a/.HAWSER", "\x00", "a\n", "\xff"])
    t.notOk(isPlainName(name), name);
});

t.test("what Windows takes, POSIX takes; and a name that is taken stays inside", async (t) => {
  let taken = 0;
  fc.assert(
    fc.property(anyName, (name) => {
      const onPosix = nameRefusal(name, "posix") === undefined;
      if (nameRefusal(name, "windows") === undefined) assert.ok(onPosix);
      if (!onPosix) return;
      taken++;
      // By latin1, in which every byte is one character.
      const parts = Buffer.from(name).toString("latin1").split("/");
      assert.ok(!parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0")));
    }),
    { numRuns: 3000 },
  );
  t.ok(taken > 100, "some are", { taken });
});

t.test("components, and back", async () => {
  fc.assert(
    fc.property(anyName, (name) => {
      const parts = componentsOf(name);
      assert.equal(parts.map(hexOf).join("2f"), hexOf(name));
      assert.ok(!parts.some((part) => part.includes(0x2f)));
      assert.ok(
        parts.every((part) => part.buffer === name.buffer),
        "not copied",
      );
    }),
  );
});

t.test("what is shown carries no control character, and no mark that reorders or hides text", async (t) => {
  const shownAs: [string, string][] = [
    ["plain", "plain"],
    ["caf\u00e9 \u6f22 \u{1f6a2}", "caf\u00e9 \u6f22 \u{1f6a2}"],
    ["\u001b[2J\u001b[31mred", "\\u{1b}[2J\\u{1b}[31mred"],
    ["\u001b]0;title\u0007", "\\u{1b}]0;title\\u{7}"],
    ["\u009b31m", "\\u{9b}31m"],
    ["a\r\nb\tc", "a\\u{d}\\u{a}b\\u{9}c"],
    ["\u007f\0", "\\u{7f}\\u{0}"],
    ["evil\u202egpj.exe", "evil\\u{202e}gpj.exe"],
    ["\u2066a\u2069", "\\u{2066}a\\u{2069}"],
    ["a\u200bb\u200fc", "a\\u{200b}b\\u{200f}c"],
    ["\u2028\u2029", "\\u{2028}\\u{2029}"],
    ["x\ufeff", "x\\u{feff}"],
  ];
  for (const [text, expected] of shownAs) {
    t.equal(escapeText(text), expected);
    t.equal(displayName(utf8(text)), expected);
    t.equal(displayName(byteTextOf(utf8(text))), expected);
  }
  t.equal(displayName(raw("caf\xe9\x1b\\")), "caf\\xe9\\x1b\\", "bytes that are not UTF-8");
});

t.test("every control character and direction mark, one by one", async (t) => {
  const marks = [0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069];
  const controls = [...Array.from({ length: 0x20 }, (_, i) => i), ...Array.from({ length: 0x21 }, (_, i) => 0x7f + i)];
  for (const point of [...controls, ...marks]) {
    t.equal(escapeText(String.fromCodePoint(point)), `\\u{${point.toString(16)}}`);
  }
});

t.test("any bytes are shown in printable characters", async () => {
  fc.assert(
    fc.property(anyName, (name) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
      return !/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(displayName(name));
    }),
    { numRuns: 1000 },
  );
});

t.test("the other marks that reorder or hide text", async (t) => {
  for (const point of [0x061c, 0x00ad, 0x180e, 0xfff9, 0xe0041]) {
    t.equal(escapeText(`a${String.fromCodePoint(point)}b`), `a\\u{${point.toString(16)}}b`);
  }
  t.equal(displayName(utf8("\ufeffa")), "\\u{feff}a", "at the start, too");
});

t.test("names that a file system folds to the server's own", async (t) => {
  for (const name of [".haw\u017fer", ".haw\u200cser", ".hawser\u200d/x", "\ufeff.hawser"]) {
    t.match(nameRefusal(utf8(name), "posix") ?? "taken", /belongs to the server/, shown(name));
  }
  t.match(nameRefusal(utf8("HAWSER~1"), "windows") ?? "taken", /belongs to the server/, "the short name on NTFS");
  t.match(nameRefusal(utf8("nul .txt"), "windows") ?? "taken", /device/, "a space before the extension");
});
