import assert from "node:assert/strict";
import fc from "fast-check";
import { Packr } from "msgpackr";
import t from "tap";
import { HawserError } from "../../src/protocol/errors.ts";
import { FRAME_TYPES, type MessageName } from "../../src/protocol/header.ts";
import {
  CHUNK_BYTES_MAX,
  CONTROL_PAYLOAD_BYTES_MAX,
  HAVE_CHUNKS_MAX,
  HEADER_BYTES,
  NAME_BYTES_MAX,
  OPENING_PAYLOAD_BYTES_MAX,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
  RESUME_KEY_BYTES,
  RESUME_KEYS_MAX,
  TEXT_CHARS_MAX,
} from "../../src/protocol/limits.ts";
import { decodeMessage, encodeMessage, type Message, pages } from "../../src/protocol/messages.ts";
import { anyMessage, MESSAGES } from "../helpers/arbitraries.ts";
import { bytesOf, hexOf, vectorFile } from "../helpers/vectors.ts";

const NAMES = Object.keys(MESSAGES) as MessageName[];
const golden = vectorFile("messages").vectors;
const bad = vectorFile("bad").vectors.filter(({ expect }) => expect.error === "E_BAD_MESSAGE");

t.test("vectors: what is sent, byte for byte, and what is read from it", async (t) => {
  for (const { name, hex, expect } of golden) {
    const [event] = expect;
    if (event === undefined || !("message" in event)) throw new Error(name);
    const payload = bytesOf(hex).subarray(HEADER_BYTES);
    t.equal(hexOf(encodeMessage(event.message, event.body as Message)), hexOf(payload), `${name}: sent`);
    t.strictSame(decodeMessage(event.message, payload), event.body, `${name}: read`);
  }
});

t.test("there is a vector of every message", async (t) => {
  const covered = golden.flatMap(({ expect }) => expect.flatMap((e) => ("message" in e ? [e.message] : [])));
  t.strictSame([...new Set(covered)].toSorted(), NAMES.toSorted());
  t.strictSame([...NAMES, "CHUNK", "BUNDLE"].toSorted(), Object.keys(FRAME_TYPES).toSorted());
});

for (const { name, hex, expect, pending } of bad) {
  if (name === "damaged control payload") continue; // found by the frame's CRC, before it gets here
  t.test(`bad: ${name}`, { todo: pending ?? false }, async (t) => {
    const type = bytesOf(hex)[0];
    const [message] = Object.entries(FRAME_TYPES).find(([, number]) => number === type) as [MessageName, number];
    t.throws(() => decodeMessage(message, bytesOf(hex).subarray(HEADER_BYTES)), {
      name: "HawserError",
      code: expect.error,
    });
    t.equal(({} as Record<string, unknown>)["id"], undefined, "no prototype was written to");
  });
}

t.test("every message comes back", async () => {
  for (const name of NAMES) {
    fc.assert(
      fc.property(MESSAGES[name] as fc.Arbitrary<Message>, (body) => {
        const payload = new Uint8Array(encodeMessage(name, body));
        assert.deepEqual(decodeMessage(name, payload), body);
      }),
      { numRuns: 60 },
    );
  }
});

t.test("an extent has three numbers and a time two, and no more", async (t) => {
  const packr = new Packr({ useRecords: false });
  for (const name of ["ACK", "RESEND"] as const) {
    const extents = (...chunks: number[][]) => packr.pack({ chunks });
    t.strictSame(decodeMessage(name, extents([0, 65_536, 9])), { chunks: [[0, 65_536, 9]] });
    t.throws(() => decodeMessage(name, extents([0, 65_536, 9, 9])), { code: "E_BAD_MESSAGE" }, name);
    t.throws(() => decodeMessage(name, extents([0, 65_536])), { code: "E_BAD_MESSAGE" });
  }
  const offer = (...mtime: number[]) => {
    return packr.pack({ settledBelow: 0, files: [{ file: 0, name: Buffer.from("a"), size: 1, mtime, mode: 0o644 }] });
  };
  t.strictSame(decodeMessage("OFFER", offer(5, 6)).files[0]?.mtime, [5, 6]);
  for (const mtime of [[5], [5, 6, 7]]) {
    t.throws(() => decodeMessage("OFFER", offer(...mtime)), { code: "E_BAD_MESSAGE" }, `${mtime.length} numbers`);
  }
});

t.test("the bytes of a message stay as they are while others are made", async (t) => {
  const first = encodeMessage("PING", { id: 0xdeadbeef });
  const before = hexOf(first);
  for (let i = 0; i < 5000; i++) encodeMessage("PING", { id: i });
  t.equal(hexOf(first), before);
});

t.test("what is decoded does not lie in the payload's buffer, which is used again", async (t) => {
  const attach = { session: new Uint8Array(16).fill(5), generation: 1, stream: 0, attempt: 1 };
  const payload = new Uint8Array(encodeMessage("ATTACH", attach));
  const { session } = decodeMessage("ATTACH", payload);
  payload.fill(0xff);
  t.strictSame(session, new Uint8Array(16).fill(5));
});

t.test("unknown fields are ignored, and not handed on", async (t) => {
  const payload = new Packr({ useRecords: false }).pack({ id: 4, later: [1, { a: null }], also: "x" });
  t.strictSame(decodeMessage("PING", payload), { id: 4 });
});

t.test("the largest texts and names pass, and fit their frames", async (t) => {
  const message = "\u20ac".repeat(TEXT_CHARS_MAX);
  const error = encodeMessage("ERROR", { code: 0xffff, message });
  t.ok(error.length <= OPENING_PAYLOAD_BYTES_MAX, "an ERROR may come before a session is open");
  t.equal(decodeMessage("ERROR", error).message, message);
  const agent = message;
  const session = new Uint8Array(16);
  const keys = Array.from({ length: RESUME_KEYS_MAX }, () => new Uint8Array(RESUME_KEY_BYTES).fill(0xff));
  const again = { session, generation: 0xffffffff, keys, fresh: true };
  const largest = CHUNK_BYTES_MAX;
  // The longest agent alone takes three quarters of the frame: with as many keys as fit there is no room for it.
  const hello = { role: "source", purpose: "transfer", streams: 64, chunkBytes: largest, ...again } as const;
  for (const shown of ["x".repeat(TEXT_CHARS_MAX), "\u20ac".repeat(TEXT_CHARS_MAX / 2)]) {
    t.ok(encodeMessage("HELLO", { agent: shown, ...hello }).length <= OPENING_PAYLOAD_BYTES_MAX);
  }
  const { keys: _, ...keyless } = hello;
  t.ok(encodeMessage("HELLO", { agent, ...keyless }).length <= OPENING_PAYLOAD_BYTES_MAX);
  const attach = { session, generation: 0xffffffff, stream: 63, attempt: 0xffffffff };
  t.ok(encodeMessage("ATTACH", attach).length <= OPENING_PAYLOAD_BYTES_MAX);
  t.throws(() => decodeMessage("ERROR", encodeMessage("ERROR", { code: 1, message: `${message}.` })), {
    code: "E_BAD_MESSAGE",
  });
  // One byte too long still arrives, so that this file is refused by name and the others go on.
  const offer = (bytes: number) => ({
    settledBelow: 0,
    files: [{ file: 0, name: new Uint8Array(bytes), size: 0, mtime: [0, 0] as [number, number], mode: 0 }],
  });
  t.ok(decodeMessage("OFFER", encodeMessage("OFFER", offer(NAME_BYTES_MAX + 1))));
  t.throws(() => decodeMessage("OFFER", encodeMessage("OFFER", offer(NAME_BYTES_MAX + 2))), { code: "E_BAD_MESSAGE" });
});

t.test("full pages of the largest entries fit a control frame", async (t) => {
  const uint = 0xffffffff;
  const far = Number.MAX_SAFE_INTEGER;
  const extent: [number, number, number] = [uint, far - 1, 1];
  const ack = { chunks: Array.from({ length: PAGE_ENTRIES_MAX }, () => extent) };
  t.ok(encodeMessage("ACK", ack).length <= CONTROL_PAYLOAD_BYTES_MAX);
  const plan = { files: Array.from({ length: PAGE_ENTRIES_MAX }, () => ({ file: uint, action: "compare" as const })) };
  t.ok(encodeMessage("PLAN", plan).length <= CONTROL_PAYLOAD_BYTES_MAX);
  const blake3 = new Uint8Array(32);
  const digest = { files: Array.from({ length: PAGE_ENTRIES_MAX }, () => ({ file: uint, blake3 })) };
  t.ok(encodeMessage("DIGEST", digest).length <= CONTROL_PAYLOAD_BYTES_MAX);
  const crcs = new Uint8Array(4 * HAVE_CHUNKS_MAX).fill(0xff);
  t.ok(encodeMessage("HAVE", { file: uint, offset: far, crcs }).length <= CONTROL_PAYLOAD_BYTES_MAX);
  const seal = { files: Array.from({ length: PAGE_ENTRIES_MAX }, () => ({ file: uint, size: far, crc32: uint })) };
  t.ok(encodeMessage("SEAL", seal).length <= CONTROL_PAYLOAD_BYTES_MAX);
});

t.test("any bytes are a message or E_BAD_MESSAGE", async (t) => {
  let errors = 0;
  let passed = 0;
  const check = (name: MessageName, payload: Uint8Array) => {
    try {
      decodeMessage(name, payload);
      passed++;
    } catch (error) {
      if (!(error instanceof HawserError) || error.code !== "E_BAD_MESSAGE") throw error;
      errors++;
    }
  };
  const anyName = fc.constantFrom(...NAMES);
  fc.assert(fc.property(anyName, fc.uint8Array({ minLength: 1, maxLength: 300 }), check), { numRuns: 2000 });
  // Valid ones with bytes changed get further in.
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(anyMessage(...NAMES), changes, fc.option(fc.nat()), ({ name, body }, edits, cut) => {
      const payload = new Uint8Array(encodeMessage(name, body));
      for (const [at, value] of edits) payload[at % payload.length] = value;
      check(name, cut === null ? payload : payload.subarray(0, 1 + (cut % payload.length)));
    }),
    { numRuns: 4000 },
  );
  // And whatever else msgpackr can write: its extensions, nested, in the place of anything.
  const packr = new Packr({ useRecords: false, structuredClone: true, moreTypes: true });
  const strange = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
    key: fc.oneof(fc.string(), fc.constantFrom("id", "files", "chunks", "session", "__proto__", "constructor")),
  });
  fc.assert(
    fc.property(anyName, strange, fc.constantFrom("id", "files", "chunks", "session"), (name, value, key) => {
      let packed: Uint8Array;
      try {
        packed = packr.pack({ [key]: value });
      } catch {
        return; // not everything can be packed
      }
      check(name, new Uint8Array(packed));
    }),
    { numRuns: 1000 },
  );
  t.ok(errors > 1000 && passed > 10, "both come about", { errors, passed });
});

t.test("lists are cut into pages that fit, in order", async (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60_000 }), { maxLength: 60 }), (sizes) => {
      const cut = [...pages(sizes, (size) => size)];
      assert.deepEqual(cut.flat(), sizes, "nothing is lost");
      for (const [i, one] of cut.entries()) {
        const total = one.reduce((sum, size) => sum + size, 0);
        assert.ok(one.length > 0);
        assert.ok(total <= PAGE_BYTES || one.length === 1);
        // No page could have taken the next one's first entry.
        const next = cut[i + 1]?.[0];
        if (next !== undefined) assert.ok(total + next > PAGE_BYTES);
      }
    }),
  );
  const many = Array.from({ length: 2 * PAGE_ENTRIES_MAX + 1 }, (_, i) => i);
  t.strictSame(
    [...pages(many, () => 1)].map((one) => one.length),
    [PAGE_ENTRIES_MAX, PAGE_ENTRIES_MAX, 1],
  );
  t.strictSame([...pages([], () => 1)], []);
});
