import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { type Frame, FrameDecoder, SLACK_BYTES } from "../../src/protocol/decoder.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import { encodeGreeting, type VersionRange } from "../../src/protocol/greeting.ts";
import { encodeHeader, FRAME_TYPES, type FrameHeader, type FrameName } from "../../src/protocol/header.ts";
import { sliceSizes } from "../helpers/arbitraries.ts";
import { byTarget, DELIVERIES, type Delivery, everyCut, sliced } from "../helpers/slices.ts";
import { bytesOf, hexOf, vectorFile } from "../helpers/vectors.ts";

const PAYLOAD_MAX = 100_000;

/** Takes every frame up to a bound, and counts what it gives out for them. */
class Owner {
  readonly frames: Frame[] = [];
  readonly greetings: VersionRange[] = [];
  readonly blocks: Uint8Array[] = [];
  readonly decoder = new FrameDecoder({
    admit: (header) => {
      if (header.payloadBytes > PAYLOAD_MAX) throw new HawserError("E_FRAME_TOO_LARGE", "too large");
      const block = new Uint8Array(header.payloadBytes + this.slack);
      this.blocks.push(block);
      return block;
    },
    onGreeting: (versions) => this.greetings.push(versions),
    onFrame: (frame) => this.frames.push(frame),
  });
  readonly slack: number;
  constructor(slack: number = SLACK_BYTES) {
    this.slack = slack;
  }
  get blockBytes(): number {
    return this.blocks.reduce((sum, block) => sum + block.length, 0);
  }
}

/** What came of bytes: frames in short, then perhaps one error. */
function outcome(owner: Owner, slices: readonly Uint8Array[], deliver: Delivery): { seen: string[]; error?: unknown } {
  let error: unknown;
  try {
    for (const slice of slices) deliver(owner.decoder, slice);
  } catch (thrown) {
    error = thrown;
  }
  const seen = owner.frames.map(
    ({ header, payload, intact }) => `${JSON.stringify(header)} ${hexOf(payload)} ${intact}`,
  );
  return error === undefined ? { seen } : { seen, error };
}

interface Sent {
  readonly header: FrameHeader;
  readonly payload: Uint8Array;
}

function sent(name: FrameName, file: number, offset: number, payload: Uint8Array): Sent {
  const { length } = payload;
  const header = { name, file, offset, payloadBytes: length, payloadCrc32: crc32(payload) };
  return { header: { ...header, encoding: "raw", decodedBytes: length }, payload };
}

const wire = (frames: readonly Sent[]) =>
  new Uint8Array(Buffer.concat([encodeGreeting(), ...frames.flatMap((f) => [encodeHeader(f.header), f.payload])]));

const payloads = fc
  .tuple(
    fc.oneof(
      fc.nat(70),
      fc.constantFrom(4031, 4032, 4044, 4064, 4095, 4096, 4097, 8160, 20_000),
      fc.integer({ min: 0, max: 12_000 }),
    ),
    fc.nat(255),
  )
  .map(([length, seed]) => Uint8Array.from({ length }, (_, i) => (i * 131 + (i >> 8) + seed) & 0xff));
const names = Object.keys(FRAME_TYPES) as FrameName[];
const anySent = fc
  .tuple(fc.constantFrom(...names, "CHUNK" as const), fc.nat(), fc.maxSafeNat(), payloads)
  .map(([name, file, offset, payload]) =>
    name === "CHUNK" ? sent(name, file, offset, payload) : sent(name, 0, 0, payload),
  );

t.test("vectors: each comes out the same in all slices", async (t) => {
  for (const name of ["messages", "chunks", "liberal"] as const) {
    for (const vector of vectorFile(name).vectors) {
      const bytes = new Uint8Array(Buffer.concat([encodeGreeting(), bytesOf(vector.hex)]));
      const whole = outcome(new Owner(), [bytes], byTarget);
      t.notOk(whole.error, vector.name);
      t.equal(whole.seen.length, vector.expect.length, vector.name);
      for (const deliver of Object.values(DELIVERIES)) {
        // To spare: half of a header, which must wait.
        for (const { how, slices } of everyCut(bytes, new Uint8Array(16))) {
          const { seen, error } = outcome(new Owner(), slices, deliver);
          if (error !== undefined || seen.join() !== whole.seen.join())
            t.fail(`${vector.name}, ${how}`, { seen, error });
        }
      }
    }
  }
});

t.test("frames come out as they were sent, in any slices and either way", async () => {
  fc.assert(
    fc.property(
      fc.array(anySent, { maxLength: 8 }),
      sliceSizes,
      fc.constantFrom(...Object.values(DELIVERIES)),
      fc.constantFrom(0, 1, 31, SLACK_BYTES, 5000),
      (frames, sizes, deliver, slack) => {
        const owner = new Owner(slack);
        const { error } = outcome(owner, sliced(wire(frames), sizes), deliver);
        assert.equal(error, undefined);
        assert.deepEqual(
          owner.frames.map(({ header, payload, intact }) => ({ header, payload: hexOf(payload), intact })),
          frames.map(({ header, payload }) => ({ header, payload: hexOf(payload), intact: true })),
        );
        assert.equal(owner.greetings.length, 1);
      },
    ),
  );
});

/** As a socket does it: where the next bytes go is asked for at once, and they come when they may. */
function byHeldTarget(decoder: FrameDecoder, slice: Uint8Array): void {
  let target = decoder.target();
  for (let at = 0; at < slice.length; ) {
    const count = Math.min(target.length, slice.length - at);
    target.set(slice.subarray(at, at + count));
    at += count;
    decoder.advance(count);
    target = decoder.target();
    while (decoder.isBlocked) decoder.goOn();
  }
}
/** As one that can't read into buffers of ours: what it had read comes all the same, and it uses its own again at once. */
function byPushBeforeGoingOn(decoder: FrameDecoder, slice: Uint8Array): void {
  for (const part of [Buffer.from(slice.subarray(0, 1)), Buffer.from(slice.subarray(1))]) {
    decoder.push(part);
    part.fill(0xee);
  }
  while (decoder.isBlocked) decoder.goOn();
}

t.test("frames for which there is no buffer wait, and all behind them, in any slices and either way", async () => {
  fc.assert(
    fc.property(
      fc.array(anySent, { maxLength: 8 }),
      sliceSizes,
      fc.constantFrom(byHeldTarget, byPushBeforeGoingOn),
      fc.array(fc.nat(2), { minLength: 1 }),
      (frames, sizes, deliver, refusals) => {
        let asked = 0;
        let left = refusals[0] ?? 0;
        const came: { header: FrameHeader; payload: string; intact: boolean | null }[] = [];
        const decoder = new FrameDecoder({
          admit: (header) => {
            if (left-- > 0) return undefined;
            left = refusals[++asked % refusals.length] ?? 0;
            return new Uint8Array(header.payloadBytes + SLACK_BYTES);
          },
          onGreeting: () => {},
          onFrame: ({ header, payload, intact }) => came.push({ header, payload: hexOf(payload), intact }),
        });
        for (const slice of sliced(wire(frames), sizes)) deliver(decoder, slice);
        assert.deepEqual(
          came,
          frames.map(({ header, payload }) => ({ header, payload: hexOf(payload), intact: true })),
        );
      },
    ),
  );
});

t.test("a payload lies where admit said, and is not copied from there", async (t) => {
  const payload = Uint8Array.from({ length: 20_000 }, (_, i) => i & 0xff);
  const owner = new Owner();
  byTarget(owner.decoder, wire([sent("CHUNK", 1, 0, payload), sent("PING", 0, 0, Uint8Array.of(1))]));
  const [chunk] = owner.frames;
  t.equal(chunk!.block, owner.blocks[0], "the very buffer");
  t.equal(chunk!.payload.buffer, owner.blocks[0]!.buffer);
  t.equal(chunk!.payload.byteOffset, owner.blocks[0]!.byteOffset);
  t.strictSame(chunk!.payload, payload);
});

t.test("a socket reads the rest of a chunk straight into its buffer, and the next header with it", async (t) => {
  const payload = new Uint8Array(20_000).fill(7);
  const owner = new Owner();
  const bytes = wire([sent("CHUNK", 1, 0, payload), sent("CHUNK", 1, 20_000, payload)]);
  byTarget(owner.decoder, bytes.subarray(0, 20 + 32));
  const target = owner.decoder.target();
  t.equal(target.buffer, owner.blocks[0]!.buffer);
  t.equal(target.length, payload.length + SLACK_BYTES, "one read takes the chunk and the header behind it");
  byTarget(owner.decoder, bytes.subarray(20 + 32, 20 + 32 + target.length));
  t.equal(owner.frames.length, 1);
  t.equal(owner.decoder.target().buffer, owner.blocks[1]!.buffer, "so the next chunk's buffer is there already");
});

t.test("a damaged payload is marked, and the next frame is whole", async () => {
  fc.assert(
    fc.property(payloads, fc.nat(), fc.nat(7), sliceSizes, (payload, where, bit, sizes) => {
      fc.pre(payload.length > 0);
      const bytes = wire([sent("CHUNK", 1, 0, payload), sent("CHUNK", 1, 1, payload)]);
      bytes[20 + 32 + (where % payload.length)]! ^= 1 << bit;
      const owner = new Owner();
      const { error } = outcome(owner, sliced(bytes, sizes), byTarget);
      assert.equal(error, undefined);
      assert.deepEqual(
        owner.frames.map(({ intact }) => intact),
        [false, true],
      );
    }),
  );
});

t.test("nothing is asked for a frame that is refused, and what the owner throws comes out", async (t) => {
  const owner = new Owner();
  const tooLarge = sent("CHUNK", 0, 0, new Uint8Array(PAYLOAD_MAX + 1));
  const { error, seen } = outcome(owner, [wire([tooLarge])], byTarget);
  t.match(error, { code: "E_FRAME_TOO_LARGE" });
  t.same(seen, []);
  t.equal(owner.blocks.length, 0);
});

t.test("the greeting comes before everything, once", async (t) => {
  const header = encodeHeader({ name: "PING", file: 0, offset: 0, payloadBytes: 1, payloadCrc32: 0 });
  t.match(outcome(new Owner(), [header], byTarget).error, { code: "E_NOT_HAWSER" });
  const owner = new Owner();
  const twice = new Uint8Array(Buffer.concat([encodeGreeting(), encodeGreeting(), new Uint8Array(32)]));
  t.match(outcome(owner, [twice], byTarget).error, { code: "E_DAMAGED" });
  t.equal(owner.greetings.length, 1);
});

t.test("another program is found out at its first wrong byte", async (t) => {
  const owner = new Owner();
  t.throws(() => owner.decoder.push(Uint8Array.of(0x47)), { code: "E_NOT_HAWSER" });
  const late = new Owner();
  late.decoder.push(encodeGreeting().subarray(0, 7));
  t.throws(() => late.decoder.push(Uint8Array.of(0x0d)), { code: "E_NOT_HAWSER" });
});

t.test("any bytes give frames, or one HawserError and nothing else, in memory bounded by what came", async (t) => {
  const flips = fc.array(
    fc.record({ at: fc.nat(), how: fc.constantFrom("flip", "drop", "double", "cut", "insert"), value: fc.nat(255) }),
    { minLength: 1, maxLength: 4 },
  );
  let errors = 0;
  let frames = 0;
  const check = (bytes: Uint8Array, sizes: number[], deliver: Delivery) => {
    const owner = new Owner();
    const { error } = outcome(owner, sliced(bytes, sizes), deliver);
    if (error !== undefined && !(error instanceof HawserError)) throw error;
    errors += error === undefined ? 0 : 1;
    frames += owner.frames.length;
    // All that was ever given out: the payloads that came, and one frame that is on its way; each with its slack.
    const received = owner.frames.reduce((sum, { payload }) => sum + payload.length, 0);
    assert.ok(owner.blocks.length <= owner.frames.length + 1);
    assert.ok(received <= bytes.length);
    assert.ok(owner.blockBytes <= bytes.length + PAYLOAD_MAX + owner.blocks.length * SLACK_BYTES);
  };
  const deliveries = fc.constantFrom(...Object.values(DELIVERIES));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), sliceSizes, deliveries, check), { numRuns: 500 });
  // The same behind a greeting, which random bytes never are.
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), sliceSizes, deliveries, (bytes, sizes, deliver) =>
      check(new Uint8Array(Buffer.concat([encodeGreeting(), bytes])), sizes, deliver),
    ),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.array(anySent, { minLength: 1, maxLength: 5 }), flips, sliceSizes, deliveries, (...args) => {
      const [valid, changes, sizes, deliver] = args;
      let bytes = Buffer.from(wire(valid));
      for (const { at, how, value } of changes) {
        const i = at % Math.max(1, bytes.length);
        const [head, tail] = [bytes.subarray(0, i), bytes.subarray(i)];
        if (how === "flip") bytes[i] = (bytes[i] ?? 0) ^ value;
        else if (how === "drop") bytes = Buffer.concat([head, tail.subarray(1 + (value & 3))]);
        else if (how === "double") bytes = Buffer.concat([head, tail.subarray(0, value), tail]);
        else if (how === "cut") bytes = Buffer.from(head);
        else bytes = Buffer.concat([head, Buffer.from([value]), tail]);
      }
      check(new Uint8Array(bytes), sizes, deliver);
    }),
    { numRuns: 1000 },
  );
  t.ok(errors > 100 && frames > 100, "both come about", { errors, frames });
});
