/** The short way to an OFFER leads to what the long one does, or nowhere. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Packr, Unpackr } from "msgpackr";
import t from "tap";
import * as v from "valibot";
import { NAME_BYTES_MAX, PAGE_ENTRIES_MAX } from "../../src/protocol/limits.ts";
import { decodeMessage, encodeMessage, type Message, type OfferedFile, SCHEMAS } from "../../src/protocol/messages.ts";
import { assertPlain } from "../../src/protocol/msgpack-scan.ts";
import { decodePlainOffer } from "../../src/protocol/offer-decoder.ts";
import { MESSAGES } from "../helpers/arbitraries.ts";

const SMALL: OfferedFile = {
  file: 70_000,
  name: Buffer.from("photos/2024/a.jpg"),
  size: 12_345,
  mtime: [1_700_000_000, 123_456_789],
  mode: 0o644,
  whole: true,
  quick: true,
};
const DIRECTORY: OfferedFile = {
  file: 1,
  name: Buffer.from("photos"),
  size: 0,
  mtime: [1, 0],
  mode: 0o755,
  kind: "directory",
};
const LINK: OfferedFile = { ...DIRECTORY, file: 300, kind: "symlink", target: Buffer.from("x".repeat(300)) };
const LARGE: OfferedFile = { ...SMALL, size: 0xffffffff, whole: false, key: new Uint8Array(16).fill(9) };

const anyOffer = MESSAGES.OFFER as fc.Arbitrary<Message<"OFFER">>;
const encoded = (files: OfferedFile[]) => new Uint8Array(encodeMessage("OFFER", { settledBelow: 5, files }));

/** What the long way makes of it. */
function longWay(payload: Uint8Array): Message<"OFFER"> | undefined {
  try {
    assertPlain(payload);
    const value = new Unpackr({ useRecords: false, int64AsType: "number", copyBuffers: true }).unpack(payload);
    return v.parse(SCHEMAS.OFFER, value);
  } catch {
    return undefined;
  }
}

function assertSame(payload: Uint8Array): boolean {
  const short = decodePlainOffer(payload);
  if (short !== undefined) assert.deepEqual(short, longWay(payload));
  return short !== undefined;
}

function comparable(file: OfferedFile) {
  return { ...file, name: Buffer.from(file.name).toString("hex"), target: file.target?.length };
}

t.test("what comes in great numbers is read", async (t) => {
  const files = [SMALL, DIRECTORY, LINK, LARGE];
  const payload = encoded(files);
  t.strictSame(decodePlainOffer(payload)?.files.map(comparable), files.map(comparable));
  t.strictSame(decodePlainOffer(payload), decodeMessage("OFFER", payload));
  const page = Array.from({ length: PAGE_ENTRIES_MAX }, (_, file) => ({
    ...DIRECTORY,
    file,
    name: Buffer.from(`${file}`),
  }));
  t.equal(decodePlainOffer(encoded(page))?.files.length, PAGE_ENTRIES_MAX);
  payload.fill(0xff);
  t.ok(longWay(encoded(files)), "and the other way agrees");
});

t.test("what it makes lies nowhere in the payload", async (t) => {
  const payload = encoded([SMALL]);
  const read = decodePlainOffer(payload);
  payload.fill(0xff);
  t.equal(Buffer.from(read?.files[0]?.name ?? []).toString(), "photos/2024/a.jpg");
});

t.test("any offer, and any damage to it: the same as by the schema, or nothing", async (t) => {
  let read = 0;
  fc.assert(
    fc.property(anyOffer, (offer) => {
      if (assertSame(new Uint8Array(encodeMessage("OFFER", offer)))) read++;
    }),
    { numRuns: 300 },
  );
  t.ok(read > 0);
  const base = encoded([SMALL, DIRECTORY, LINK, LARGE]);
  for (let at = 0; at < base.length; at++) {
    for (const value of [
      0, 1, 0x7f, 0x80, 0x81, 0x90, 0xa4, 0xc0, 0xc2, 0xc3, 0xc4, 0xcc, 0xcd, 0xce, 0xcf, 0xdc, 0xff,
    ]) {
      const damaged = Uint8Array.from(base);
      damaged[at] = value;
      assertSame(damaged);
    }
    t.equal(decodePlainOffer(base.subarray(0, at)), undefined, `cut at ${at}`);
  }
  t.equal(decodePlainOffer(Buffer.concat([base, Buffer.from([0])])), undefined, "something follows");
  fc.assert(
    fc.property(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 6 }), (at, bytes) => {
      const damaged = Uint8Array.from(base);
      damaged.set(bytes, at % (base.length - bytes.length));
      assertSame(damaged);
    }),
    { numRuns: 2000 },
  );
});

t.test("what stands in a value of another form is not read as the rest of the entry", async (t) => {
  const whole = Buffer.from(encoded([SMALL]));
  const [size, name] = [Buffer.from("\xa4size", "latin1"), Buffer.from("\xa4name", "latin1")];
  // A number of eight bytes, which are a pair by themselves; the message ends one pair too early for it.
  const mode = Buffer.from("\xa4mode\xcd\x01\x02", "latin1");
  const number = Buffer.concat([size, Buffer.of(0xcf), mode]);
  // A name that is too long, and all that follows is in it.
  const long = Buffer.concat([name, Buffer.of(0xc5, 0x20, 0x00)]);
  const first = whole.indexOf(Buffer.from("\xa4file", "latin1"));
  const inside = (value: Buffer, pairs: number) => {
    const payload = Buffer.concat([whole.subarray(0, first), value, whole.subarray(first)]);
    payload[first - 1] = (payload[first - 1] ?? 0) + pairs;
    return new Uint8Array(payload);
  };
  for (const payload of [inside(number, 2), inside(long, 1)]) {
    t.equal(longWay(payload), undefined);
    t.equal(decodePlainOffer(payload), undefined);
  }
});

t.test("what is out of bounds, or not known, is for the schema", async (t) => {
  const packr = new Packr({ useRecords: false });
  const others: Record<string, unknown>[] = [
    { ...SMALL, mode: 0o10000 },
    { ...SMALL, size: null },
    { ...SMALL, size: 2 ** 33 },
    { ...SMALL, size: -1 },
    { ...SMALL, mtime: [-1, 0] },
    { ...SMALL, mtime: [1, 1_000_000_000] },
    { ...SMALL, mtime: [1, 2, 3] },
    { ...SMALL, name: "text" },
    { ...SMALL, name: new Uint8Array(NAME_BYTES_MAX + 2) },
    { ...SMALL, key: new Uint8Array(15) },
    { ...LINK, target: new Uint8Array(0) },
    { ...DIRECTORY, kind: "socket" },
    { ...SMALL, whole: 1 },
    { ...SMALL, later: 1 },
    { file: 1, name: SMALL.name, size: 1, mode: 0 },
  ];
  for (const file of others) {
    const payload = new Uint8Array(packr.pack({ settledBelow: 0, files: [file] }));
    t.equal(decodePlainOffer(payload), undefined, JSON.stringify(file));
  }
  const many = { settledBelow: 0, files: Array(PAGE_ENTRIES_MAX + 1).fill(DIRECTORY) };
  t.equal(decodePlainOffer(new Uint8Array(packr.pack(many))), undefined, "too many");
});
