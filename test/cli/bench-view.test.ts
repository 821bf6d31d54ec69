import t from "tap";
import { type BenchPlan, benchRecord, benchText, progressOf } from "../../src/cli/bench-view.ts";
import { progressRecord } from "../../src/cli/progress-json.ts";
import { progressText } from "../../src/cli/progress-view.ts";
import { verdictText } from "../../src/cli/verdict-view.ts";
import type { MeasureResult } from "../../src/client/measure.ts";
import type { SweepResult } from "../../src/client/sweep.ts";
import { type Cause, judge, type RunFigures, type Verdict } from "../../src/client/verdict.ts";
import type { Load } from "../../src/net/load.ts";
import { REFUSED } from "./fakes.ts";
import { nonconformity } from "./schema.ts";

const PLAN: BenchPlan = { to: { host: "127.0.0.1", port: 46491 }, own: true, disk: false, from: undefined };
const GIB = 1024 ** 3;

const load = (busy: number, rest: Partial<Load> = {}): Load => ({
  clockMicros: 2e6,
  cpuMicros: busy * 2e6,
  threadMicros: busy * 2e6,
  busyMicros: busy * 2e6,
  diskMicros: 0,
  heldMicros: 0,
  diskBytes: 0,
  cores: 2,
  ...rest,
});

const figures = (rest: Partial<RunFigures> = {}): RunFigures => ({
  streams: 4,
  seconds: 2,
  bytes: 4 * GIB,
  settlingSeconds: 0,
  inputSeconds: 0,
  ownLimit: null,
  peerLimit: null,
  roundTrip: { leastMs: 50, medianMs: 51 },
  segments: { sent: 100_000, retransmitted: 50 },
  isOfAllPrograms: true,
  knowsMost: false,
  sender: load(0.96),
  receiver: load(0.76),
  ...rest,
});

function measured(streams: number, gib: number, rest: Partial<RunFigures> = {}): MeasureResult {
  return {
    ok: true,
    bytes: gib * GIB,
    seconds: 2,
    bytesPerSecond: (gib * GIB) / 2,
    streams,
    cpuSeconds: { client: 1.92, server: 1.52 },
    figures: figures({ streams, bytes: gib * GIB, ...rest }),
    exitCode: 0,
    error: null,
  };
}

function swept(...runs: [MeasureResult, ...MeasureResult[]]): SweepResult {
  const verdict = judge(runs.map((run) => run.figures) as [RunFigures, ...RunFigures[]]);
  const best = runs.find((run) => run.figures === verdict.run) ?? runs[0];
  return { runs, verdict, result: best, best };
}

const textOf = (plan: BenchPlan, all: SweepResult) => benchText(plan, all, all.result);

t.test("text: golden, one number of streams", async (t) => {
  t.equal(
    textOf(PLAN, swept(measured(4, 4))),
    [
      "path        127.0.0.1:46491 (a server of its own, on this machine)",
      "round trip  50 ms",
      "sent        4.00 GiB in 2.00 s over 4 streams, written nowhere",
      "rate        2.00 GiB/s (17.2 Gbit/s)",
      "client      0.48 CPU seconds per GiB, 96% of a core",
      "server      0.38 CPU seconds per GiB, 76% of a core",
      "sent again  50 of 100,000 segments (0.050%), of all programs on this machine",
      "limited by  the CPU of this end: its thread had something to do for 96% of the time, the server's for 76%; a faster processor here would help, more streams would not",
      "",
    ].join("\n"),
  );
});

t.test("segments of the streams alone", async (t) => {
  const text = textOf(PLAN, swept(measured(4, 4, { isOfAllPrograms: false })));
  t.match(text, /^sent again {2}50 of 100,000 segments \(0\.050%\)$/m);
});

t.test("text: golden, a sweep with disks", async (t) => {
  const plan = { ...PLAN, own: false, disk: true, from: "big\u001b.iso" };
  const idle = { sender: load(0.1, { diskBytes: 3 * GIB }), receiver: load(0.25, { diskBytes: 2 * GIB }) };
  const text = textOf(plan, swept(measured(1, 0.25, idle), measured(16, 2, { ...idle, segments: null })));
  t.equal(
    text,
    [
      "path        127.0.0.1:46491",
      "round trip  50 ms",
      "",
      "streams        rate  busy here  there  sent again",
      "      1   128 MiB/s        10%    25%          50  ████",
      "     16  1.00 GiB/s        10%    25%           ?  ██████████████████████████████",
      "",
      "sent        2.00 GiB of big\\u{1b}.iso in 2.00 s over 16 streams, written to the disk there and dropped",
      "rate        1.00 GiB/s (8.59 Gbit/s)",
      "client      0.96 CPU seconds per GiB, 96% of a core",
      "server      0.76 CPU seconds per GiB, 76% of a core",
      "disk        1.50 GiB/s read here, 1.00 GiB/s written there",
      "limited by  how much a stream may have on its way: each of 16 has 3.20 MiB on its way in a round trip of 50 ms, which gives 64.0 MiB/s; more streams would help: --streams 64",
      "",
    ].join("\n"),
  );
});

/** What each cause is given as, with its figures and its advice. */
const SENTENCES: readonly [Cause, Partial<RunFigures>, RegExp][] = [
  ["own-limit", { ownLimit: 2 * GIB }, /^--bwlimit: 2\.00 GiB\/s .* would help$/],
  ["peer-limit", { peerLimit: 2 * GIB }, /^the server's limit: it reads 2\.00 GiB\/s .* ask for a higher/],
  ["sender-cpu", {}, /^the CPU of this end: .* 96% .* 76%; a faster processor here/],
  [
    "sender-cpu",
    { sender: load(0.96, { threadMicros: 2e5 }) },
    /96% of the time and a processor for 10%.*what else runs/,
  ],
  ["receiver-cpu", { receiver: load(0.98) }, /^the CPU of the server: .* 98% .* 96%; a faster processor there/],
  ["source-disk", { sender: load(0.96, { threadMicros: 2e5, diskMicros: 1.6e6 }) }, /^the disk of this end: .* 80%/],
  ["source-disk", { inputSeconds: 1.5 }, /^what is piped in: for 75% of the time/],
  ["destination-disk", { receiver: load(0.1, { heldMicros: 1.8e6 }) }, /^the disk of the server: .* 90%.*durability/],
  ["destination-disk", { settlingSeconds: 8 }, /^the disk of the server: it took 8\.00 s to commit .* 2\.00 s/],
  [
    "path-loss",
    { bytes: GIB / 100, sender: load(0.1), receiver: load(0.1) },
    /^loss on the path: 0\.050% of 100,000 segments .* round trip of 50 ms, so 4 streams .*more streams would help: --streams 16/,
  ],
  [
    "path-window",
    { bytes: GIB / 100, sender: load(0.1), receiver: load(0.1), segments: null },
    /^how much a stream may have on its way: each of 4 has .* round trip of 50 ms.*--streams 16/,
  ],
  [
    "path-rate",
    { sender: load(0.1), receiver: load(0.2), roundTrip: null, segments: null },
    /^the path: it carries no more than 2\.00 GiB\/s, .*\(busy 10% here, 20% there\)/,
  ],
  ["unknown", { sender: load(0.1), receiver: null }, /busy for 10% of the time/],
  ["too-short", { seconds: 0.1 }, /100 ms: send for longer$/],
];

t.test("a sentence for each cause", async (t) => {
  for (const [cause, rest, sentence] of SENTENCES) {
    const verdict: Verdict = judge([figures(rest)]);
    t.equal(verdict.cause, cause);
    t.match(verdictText(verdict), sentence);
    t.notMatch(verdictText(verdict), /NaN|undefined|Infinity/);
    t.notMatch(verdictText(verdict), "\n", "on one line");
  }
});

t.test("what was measured before one failed is shown, and what it says", async (t) => {
  const failed = { ...measured(4, 0), ok: false, figures: null, error: REFUSED.error };
  const one = swept(measured(1, 1));
  const text = textOf(PLAN, { ...one, runs: [...one.runs, failed] });
  t.match(text, /^ +1 .*█$/m);
  t.match(text, new RegExp(`^ +4 +${REFUSED.error?.code}$`, "m"));
  t.match(text, /^limited by /m);
});

t.test("json conforms to its schema", async (t) => {
  t.equal(nonconformity("bench", benchRecord(PLAN, swept(measured(4, 4)))), undefined);
  t.equal(nonconformity("bench", benchRecord(PLAN, swept(measured(1, 1), measured(4, 2)))), undefined);
  const bare = { roundTrip: null, segments: null, receiver: null };
  t.equal(nonconformity("bench", benchRecord({ ...PLAN, from: "a" }, swept(measured(4, 4, bare)))), undefined);
  const none = { ok: false, bytes: 0, bytesPerSecond: 0, seconds: 0, streams: 0, figures: null, error: REFUSED.error };
  const failed: MeasureResult = { ...measured(4, 0), ...none, cpuSeconds: { client: 0, server: null }, exitCode: 73 };
  const nothing = { runs: [failed], result: failed, best: null, verdict: null };
  t.equal(nonconformity("bench", benchRecord(PLAN, nothing)), undefined);
  t.type(nonconformity("bench", { ok: true }), "string", "the schema refuses");
});

t.test("progress", async (t) => {
  const event = progressOf({ bytes: GIB, elapsedMs: 500 }, 2);
  t.equal(event.type === "progress" && progressText(event), "1.00 GiB, 2.00 GiB/s, 2 s left");
  t.equal(nonconformity("progress-event", progressRecord(event)), undefined);
});
