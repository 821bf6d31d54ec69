/** Names put together of odd parts, and what has to hold of each: an oracle of its own says what may not be taken. */
import assert from "node:assert/strict";
import { COMPONENT_BYTES_MAX, NAME_BYTES_MAX } from "../../src/protocol/limits.ts";
import { displayName, isPlainName, nameRefusal, UNPRINTABLE } from "../../src/protocol/names.ts";
import type { Random } from "./random.ts";

const PARTS = [
  ...[
    "a",
    "b.txt",
    "tree",
    "",
    ".",
    "..",
    "...",
    " ",
    "a ",
    "a.",
    ".a",
    "con",
    "NUL.txt",
    "com1",
    "aux .b",
    "lpt\u00b9",
  ],
  ...[
    ".hawser",
    ".HAWSER",
    ".hawser ",
    ".haw\u200dser",
    "\uff0ehawser",
    "hawser~1",
    "a:b",
    "C:",
    "a\\b",
    "..\\..",
    "a\0b",
  ],
  ...["\x1b[2J", "\u202egnp.exe", "\u2028", "caf\u00e9", "cafe\u0301", "\ufeffa", "x".repeat(255), "y".repeat(256)],
].map((part) => Buffer.from(part));
/** Without a memory of where it looked last. */
const MOVES_A_TERMINAL = new RegExp(UNPRINTABLE.source, "u");
const SLASH = Buffer.from("/");

function makeName(random: Random): Uint8Array {
  const parts: Buffer[] = [];
  const count = random.few(random.oneIn(64) ? 40 : 4);
  for (let i = 0; i < count; i++) parts.push(...(i > 0 || random.oneIn(16) ? [SLASH] : []), random.pick(PARTS));
  const name = Buffer.concat(parts);
  const times = random.below(3);
  for (let i = 0; i < times && name.length > 0; i++) {
    name[random.below(name.length)] = random.oneIn(4) ? random.pick([0, 0x2e, 0x2f, 0x5c, 0x80, 0xff]) : random.word();
  }
  return new Uint8Array(name.subarray(0, random.oneIn(8) ? random.below(name.length + 1) : name.length));
}

/** Nothing that leads elsewhere is taken, nothing else is refused, and no name that is shown moves a terminal. */
export function checkNames(random: Random): void {
  const name = makeName(random);
  const text = Buffer.from(name).toString("latin1");
  const shown = displayName(name);
  assert.ok(!MOVES_A_TERMINAL.test(shown), `${JSON.stringify(shown)} is shown`);
  const isOf = (part: string) => !["", ".", ".."].includes(part) && part.length <= COMPONENT_BYTES_MAX;
  const parts = text.split("/");
  const isGood = name.length <= NAME_BYTES_MAX && parts.every(isOf) && !text.includes("\0");
  const refusal = nameRefusal(name, "posix");
  // The server's own directory has rules of its own, which come first.
  if (!refusal?.includes("belongs to the server")) assert.equal(refusal === undefined, isGood, `${shown}: ${refusal}`);
  if (isPlainName(text as Parameters<typeof isPlainName>[0])) assert.equal(refusal, undefined, shown);
  if (parts.includes(".hawser")) assert.notEqual(refusal, undefined, shown);
  if (nameRefusal(name, "windows") !== undefined) return;
  assert.equal(refusal, undefined, `${shown} is taken on Windows only`);
  assert.ok(
    name.every((byte) => byte >= 0x20),
    shown,
  );
  assert.doesNotMatch(text, /[<>:"|?*\\]/, shown);
  for (const part of parts) assert.doesNotMatch(part, /[. ]$|^(con|prn|aux|nul|com\d|lpt\d) *(\.|$)/i, shown);
}
