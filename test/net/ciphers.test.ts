import t from "tap";
import { isAsFast } from "../../src/net/ciphers.ts";

/** Calls that take these times, in turn, and the last of them for ever. */
function taking(...timesMs: number[]): () => number {
  let call = 0;
  return () => timesMs[Math.min(call++, timesMs.length - 1)] as number;
}

t.test("where the processor has AES, AES comes first", async (t) => {
  t.equal(isAsFast(taking(0.04), taking(0.05)), true);
});

t.test("a start that something else disturbs does not choose the slower cipher", async (t) => {
  t.equal(isAsFast(taking(0.13, 0.2, 0.12, 0.13, 0.04), taking(0.05)), true);
});

t.test("where AES is software, ChaCha20 comes first, and a disturbed ChaCha20 changes nothing", async (t) => {
  t.equal(isAsFast(taking(0.4), taking(0.1)), false);
  t.equal(isAsFast(taking(0.4), taking(0.3, 0.1)), false);
});
