/**
 * A short sitting of each campaign: one with a seed that is always the same, one with a new one, which is shown. `npm run
 * fuzz` sits longer.
 */
import { randomInt } from "node:crypto";
import t, { type Test } from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { decodeHeader } from "../../src/protocol/header.ts";
import { HEADER_BYTES } from "../../src/protocol/limits.ts";
import { decodeMessage } from "../../src/protocol/messages.ts";
import type { Count, Sitting } from "./campaign.ts";
import { makeCorpus } from "./corpus.ts";
import { FramesFuzzer } from "./frames.ts";
import { fuzzFrames } from "./frames-campaign.ts";
import { fuzzLive, fuzzTls } from "./live-campaign.ts";
import { Draft, mutate } from "./mutations.ts";
import { Random } from "./random.ts";
import { fuzzSessions } from "./sessions-campaign.ts";
import { varyMessage } from "./variation.ts";

const SEED = 20261127;
/** All of 127.0.0.0/8 is this machine on Linux only, and /proc tells what a program holds. */
const notHere = process.platform === "linux" ? false : "needs Linux";
const RANDOM_SEED = randomInt(2 ** 32);

/** Ends by the count of frames, on any machine. */
async function sit(t: Test, run: (sitting: Sitting) => Promise<Count>, seed: number, frames: number): Promise<void> {
  t.comment(`seed ${seed}`);
  const untilMs = Number.POSITIVE_INFINITY;
  const onFinding: Sitting["onFinding"] = ({ campaign, number, what }) => {
    t.fail(`${campaign}:${number}: ${what}`, { again: `npm run fuzz -- --seed ${seed} --only ${campaign}:${number}` });
  };
  const count = await run({ seed, untilMs, frames, onFinding });
  t.equal(count.findings, 0);
  t.ok(count.frames >= frames, `${count.frames} frames`);
}

// Live servers are in processes of their own, which are waited for at their ends: two of them stand beside each other.
t.jobs = 2;
const beside = { buffered: true, skip: notHere };
const alone = { buffered: false };

for (const seed of [SEED, RANDOM_SEED]) {
  t.test(`frames in process, seed ${seed}`, alone, (t) => sit(t, fuzzFrames, seed, 30_000));
  t.test(`sessions in process, seed ${seed}`, { ...alone, skip: notHere }, (t) => sit(t, fuzzSessions, seed, 500));
  t.test(`a live server, seed ${seed}`, beside, (t) => sit(t, fuzzLive, seed, 3000));
  t.test(`a live server over TLS, seed ${seed}`, beside, (t) => sit(t, fuzzTls, seed, 1000));
}

t.test("what a case does follows from its seed and number, whatever came before", async (t) => {
  const judged = (fuzzer: FramesFuzzer, number: number) => {
    const before = [fuzzer.frames, fuzzer.taken];
    fuzzer.run(number);
    return [fuzzer.frames - (before[0] as number), fuzzer.taken - (before[1] as number)];
  };
  const [one, other] = [new FramesFuzzer(5), new FramesFuzzer(5)];
  for (let number = 0; number < 50; number++) one.run(number);
  for (let number = 50; number < 100; number++) t.strictSame(judged(one, number), judged(other, number));
});

t.test("a message with other values is one still, and its sums are right", async (t) => {
  const random = new Random(RANDOM_SEED);
  const draft = new Draft(96 * 1024);
  let taken = 0;
  const { byName } = makeCorpus(SEED);
  for (const { name, frame, shape } of [...byName.values()].flat()) {
    if (name === "CHUNK" || name === "BUNDLE") continue;
    draft.set(frame);
    varyMessage(draft, shape.slots, random);
    const header = decodeHeader(draft.bytes);
    const payload = new Uint8Array(draft.content.subarray(HEADER_BYTES));
    if (header.payloadCrc32 !== crc32(payload)) t.fail(`${name} has a wrong CRC`);
    try {
      decodeMessage(name, payload);
      taken++;
    } catch (thrown) {
      // Some numbers have bounds, and are now above them.
      if ((thrown as { code?: string }).code !== "E_BAD_MESSAGE") throw thrown;
    }
  }
  t.ok(taken > 1500, `${taken} are taken`);
});

t.test("changes stay in their room", async (t) => {
  const random = new Random(RANDOM_SEED);
  const draft = new Draft(64);
  const others = [Buffer.alloc(100, 1), Buffer.alloc(1)];
  for (let i = 0; i < 10_000; i++) {
    if (random.oneIn(8)) draft.set(Buffer.alloc(random.below(80), 7));
    mutate(draft, Math.min(8, draft.length), random, others);
    if (draft.length > 64 || draft.length < 0) t.fail(`${draft.length} bytes`);
  }
});
