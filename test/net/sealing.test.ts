/** Records of sealed streams: their bytes, and that nothing but what was sealed, in its order, ever comes out. */
import * as fc from "fast-check";
import t from "tap";
import { Opener, type SealedKeys, Sealer, secretNameOf } from "../../src/net/sealing.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import { SEALED_RECORD_BYTES_MAX, SEALED_RECORDS_PER_KEY } from "../../src/protocol/limits.ts";
import { bytesOf, hexOf } from "../helpers/vectors.ts";

const secret = Uint8Array.from({ length: 32 }, (_, i) => i);
const KEYS: SealedKeys = { cipher: "aes-128-gcm", secret, number: 7 };
const HAWSER = Buffer.from("hawser");
const HEAD_BYTES = 4;
const TAG_BYTES = 16;

const sealed = (sealer: Sealer, ...slices: Uint8Array[]) => Buffer.concat(sealer.seal(slices));
const opened = (opener: Opener, bytes: Uint8Array) => Buffer.concat(opener.open(bytes));

/** What comes of it; that it is E_DAMAGED where it does not open. */
function outcome(opener: Opener, bytes: Uint8Array): Buffer | "damaged" {
  try {
    return opened(opener, bytes);
  } catch (error) {
    if (error instanceof HawserError && error.code === "E_DAMAGED") return "damaged";
    throw error;
  }
}

t.test("the golden bytes, made with Python's hmac and cryptography by what PROTOCOL.md says", async (t) => {
  t.equal(hexOf(secretNameOf(secret)), "1f2cde692d757ab674ed78abbeb46e95");
  const client = new Sealer(KEYS, "client");
  t.equal(hexOf(sealed(client, HAWSER)), "00000006aa043b9383c78ba303d44df94d2b6489a10283f7154a");
  t.equal(hexOf(sealed(client, Buffer.from("rope"))), "00000004b4dce495c375a4a078b97253d2746b527072d044");
  for (let i = 2; i < SEALED_RECORDS_PER_KEY; i++) client.seal([HAWSER]);
  const another = "0000000609234089dc826c1f5be4d78858fe41115f8f6d1f98b9";
  t.equal(hexOf(sealed(client, HAWSER)), another, "the first record under the second key");
  const server = sealed(new Sealer(KEYS, "server"), HAWSER);
  t.equal(hexOf(server), "00000006beb97eb9b5f6f92127830bb56fc8eb3bd6eb4c2abe06");
  const chacha = sealed(new Sealer({ ...KEYS, cipher: "chacha20-poly1305" }, "client"), HAWSER);
  t.equal(hexOf(chacha), "00000006b3dfb351cb06d5e812ededa7ccc50734f1902fe305d3");
  t.same(opened(new Opener(KEYS, "client"), bytesOf("00000006aa043b9383c78ba303d44df94d2b6489a10283f7154a")), HAWSER);
});

t.test("what was sealed comes out, however it is sliced on either end", async () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.nat(400_000), { maxLength: 4 }), { maxLength: 4 }),
      fc.integer({ min: 1, max: 300_000 }),
      fc.constantFrom("aes-128-gcm" as const, "chacha20-poly1305" as const),
      (writes, step, cipher) => {
        const [sealer, opener] = [new Sealer({ ...KEYS, cipher }, "server"), new Opener({ ...KEYS, cipher }, "server")];
        const slices = writes.map((lengths) => lengths.map((length, i) => Buffer.alloc(length, i + 1)));
        const wire = Buffer.concat(slices.flatMap((write) => sealer.seal(write)));
        const out: Uint8Array[] = [];
        for (let at = 0; at < wire.length; at += step) out.push(...opener.open(wire.subarray(at, at + step)));
        return Buffer.concat(out).equals(Buffer.concat(slices.flat()));
      },
    ),
    { numRuns: 40 },
  );
});

t.test("byte by byte too, and nothing comes out before its tag is there", async (t) => {
  const wire = sealed(new Sealer(KEYS, "client"), HAWSER);
  const opener = new Opener(KEYS, "client");
  for (const byte of wire.subarray(0, -1)) t.same(opener.open(Uint8Array.of(byte)), []);
  t.same(opened(opener, wire.subarray(-1)), HAWSER);
});

t.test("a record that trickles in is kept in few pieces", async (t) => {
  const content = Buffer.alloc(200_000, "0123456789");
  const wire = sealed(new Sealer(KEYS, "client"), content);
  const opener = new Opener(KEYS, "client");
  const out: Uint8Array[] = [];
  for (let at = 0; at < wire.length; at++) out.push(...opener.open(wire.subarray(at, at + 1)));
  t.ok(Buffer.concat(out).equals(content));
  t.ok(out.length <= 4, `${out.length} pieces`);
});

t.test("large writes become records of the largest size", async (t) => {
  const wire = sealed(new Sealer(KEYS, "client"), Buffer.alloc(SEALED_RECORD_BYTES_MAX + 1));
  t.equal(wire.length, SEALED_RECORD_BYTES_MAX + 1 + 2 * (HEAD_BYTES + TAG_BYTES));
  t.equal(wire.readUInt32BE(0), SEALED_RECORD_BYTES_MAX);
  t.equal(wire.readUInt32BE(HEAD_BYTES + SEALED_RECORD_BYTES_MAX + TAG_BYTES), 1);
  t.same(new Sealer(KEYS, "client").seal([]), [], "of nothing comes nothing");
  t.same(new Sealer(KEYS, "client").seal([new Uint8Array(0)]), []);
});

t.test("a changed bit anywhere opens nothing", async (t) => {
  const wire = sealed(new Sealer(KEYS, "client"), HAWSER);
  for (let bit = 0; bit < wire.length * 8; bit++) {
    const changed = Buffer.from(wire);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const out = outcome(new Opener(KEYS, "client"), changed);
    // A longer length waits for what does not come.
    t.ok(out === "damaged" || out.length === 0, `bit ${bit}`);
  }
});

t.test(
  "records out of their order, twice, left out, of the other end, or of another connection open nothing",
  async (t) => {
    const sealer = new Sealer(KEYS, "client");
    const [first, second] = [sealed(sealer, HAWSER), sealed(sealer, Buffer.from("rope"))];
    const after = (...records: Uint8Array[]) => outcome(new Opener(KEYS, "client"), Buffer.concat(records));
    t.same(after(first, second), Buffer.from("hawserrope"));
    t.equal(after(second), "damaged", "left out");
    t.equal(after(second, first), "damaged", "reordered");
    const opener = new Opener(KEYS, "client");
    t.same(outcome(opener, first), HAWSER);
    t.equal(outcome(opener, first), "damaged", "replayed");
    t.equal(outcome(new Opener(KEYS, "server"), first), "damaged", "sent back to who sealed it");
    t.equal(outcome(new Opener({ ...KEYS, number: 8 }, "client"), first), "damaged", "on another connection");
    const other = { ...KEYS, secret: Uint8Array.from(secret, (byte) => byte ^ 1) };
    t.equal(outcome(new Opener(other, "client"), first), "damaged", "under another secret");
    t.equal(outcome(new Opener({ ...KEYS, cipher: "chacha20-poly1305" }, "client"), first), "damaged");
  },
);

t.test("a record that is cut gives nothing", async (t) => {
  const wire = sealed(new Sealer(KEYS, "client"), HAWSER);
  for (let bytes = 0; bytes < wire.length; bytes++)
    t.same(new Opener(KEYS, "client").open(wire.subarray(0, bytes)), []);
});

t.test("a length of nothing, or of more than may be, is refused before a byte is kept", async (t) => {
  const head = (bytes: number) => Buffer.from([bytes >>> 24, (bytes >> 16) & 255, (bytes >> 8) & 255, bytes & 255]);
  t.equal(outcome(new Opener(KEYS, "client"), head(0)), "damaged");
  t.equal(outcome(new Opener(KEYS, "client"), head(SEALED_RECORD_BYTES_MAX + 1)), "damaged");
  t.equal(outcome(new Opener(KEYS, "client", 10), head(11)), "damaged", "of the first record");
  const sealer = new Sealer(KEYS, "client");
  const opener = new Opener(KEYS, "client", 10);
  t.same(outcome(opener, sealed(sealer, HAWSER)), HAWSER);
  t.equal((outcome(opener, sealed(sealer, Buffer.alloc(1000))) as Buffer).length, 1000, "and not of the others");
});

t.test("no key and nonce come twice", async (t) => {
  // Zeros sealed are the key stream: it comes again where key and nonce do.
  const seen = new Set<string>();
  const zeros = new Uint8Array(16);
  let records = 0;
  const note = (wire: Buffer) => {
    records++;
    seen.add(wire.toString("latin1", HEAD_BYTES, HEAD_BYTES + zeros.length));
  };
  for (const writer of ["client", "server"] as const) {
    for (const number of [0, 1, 0xffffffff]) {
      const sealer = new Sealer({ ...KEYS, number }, writer);
      for (let i = 0; i < 50; i++) note(sealed(sealer, zeros));
    }
  }
  const sealer = new Sealer(KEYS, "client");
  for (let i = 0; i < SEALED_RECORDS_PER_KEY + 100; i++) note(sealed(sealer, zeros));
  t.equal(seen.size, records);
});
