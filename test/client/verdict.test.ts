/** What limits, from figures: one test for each cause, and the borders between them. */
import t from "tap";
import { judge, type RunFigures, sharesOf } from "../../src/client/verdict.ts";
import type { Load } from "../../src/net/load.ts";

const MIB = 1024 * 1024;
const SECONDS = 4;

/** Shares of the time. */
interface At {
  readonly busy?: number;
  readonly thread?: number;
  readonly disk?: number;
  readonly held?: number;
  /** Of one processor. */
  readonly cpu?: number;
}

function load({ busy = 0.1, thread = busy, disk = 0, held = 0, cpu = thread }: At = {}): Load {
  const micros = (share: number) => share * SECONDS * 1e6;
  return {
    clockMicros: micros(1),
    cpuMicros: micros(cpu),
    threadMicros: micros(thread),
    busyMicros: micros(busy),
    diskMicros: micros(disk),
    heldMicros: micros(held),
    diskBytes: 0,
    cores: 4,
  };
}

const run = (rest: Partial<RunFigures> = {}): RunFigures => ({
  streams: 4,
  seconds: SECONDS,
  bytes: SECONDS * 100 * MIB,
  settlingSeconds: 0.01,
  inputSeconds: 0,
  ownLimit: null,
  peerLimit: null,
  roundTrip: { leastMs: 0.3, medianMs: 0.5 },
  segments: { sent: 300_000, retransmitted: 0 },
  isOfAllPrograms: false,
  knowsMost: false,
  sender: load(),
  receiver: load(),
  ...rest,
});

const causeOf = (rest: Partial<RunFigures>) => judge([run(rest)]).cause;
/** A long path: 50 ms. */
const LONG = { leastMs: 50, medianMs: 52 };

t.test("limits that somebody has set", async (t) => {
  t.equal(causeOf({ peerLimit: 105 * MIB }), "peer-limit");
  t.equal(causeOf({ ownLimit: 105 * MIB }), "own-limit");
  t.equal(causeOf({ ownLimit: 105 * MIB, peerLimit: 110 * MIB }), "own-limit", "the lower one");
  t.equal(causeOf({ ownLimit: 110 * MIB, peerLimit: 105 * MIB }), "peer-limit");
  t.equal(causeOf({ peerLimit: 200 * MIB }), "path-rate", "not one that is not reached");
  t.equal(
    causeOf({ peerLimit: 105 * MIB, receiver: load({ busy: 1 }) }),
    "peer-limit",
    "whatever else is at its limit",
  );
});

t.test("the processors", async (t) => {
  t.equal(causeOf({ sender: load({ busy: 0.95 }), receiver: load({ busy: 0.6 }) }), "sender-cpu");
  t.equal(causeOf({ sender: load({ busy: 0.6 }), receiver: load({ busy: 0.95 }) }), "receiver-cpu");
  t.equal(causeOf({ sender: load({ busy: 0.9 }), receiver: load({ busy: 0.95 }) }), "receiver-cpu", "the busier one");
  t.equal(causeOf({ sender: load({ busy: 0.95, thread: 0.2 }) }), "sender-cpu", "also when others have it");
  t.equal(causeOf({ sender: load({ busy: 0.5, cpu: 3.9 }) }), "sender-cpu", "all threads on all of them");
  t.equal(causeOf({ receiver: load({ busy: 0.5, cpu: 3.9 }) }), "receiver-cpu");
  t.equal(causeOf({ sender: load({ busy: 0.6 }), receiver: load({ busy: 0.6 }) }), "path-rate", "neither");
  t.equal(causeOf({ receiver: null }), "unknown", "of the other end nothing is known");
  t.equal(causeOf({ receiver: null, sender: load({ busy: 0.9 }) }), "sender-cpu");
});

t.test("the disks", async (t) => {
  t.equal(causeOf({ sender: load({ busy: 0.95, thread: 0.2, disk: 0.7 }) }), "source-disk", "reads that block");
  t.equal(causeOf({ receiver: load({ busy: 0.95, thread: 0.2, disk: 0.7 }) }), "destination-disk", "writes that block");
  t.equal(causeOf({ receiver: load({ busy: 0.95, thread: 0.8, disk: 0.1 }) }), "receiver-cpu", "writes that don't");
  t.equal(causeOf({ receiver: load({ busy: 0.2, held: 0.8 }) }), "destination-disk", "writes that are waited for");
  t.equal(causeOf({ settlingSeconds: SECONDS * 2 }), "destination-disk", "the commit takes longer than all");
  t.equal(causeOf({ inputSeconds: SECONDS * 0.8 }), "source-disk", "a pipe that gives nothing");
  t.equal(causeOf({ inputSeconds: SECONDS * 0.2 }), "path-rate");
});

t.test("the path, by one run", async (t) => {
  const slow = { bytes: SECONDS * 8 * MIB, roundTrip: LONG };
  const lossy = { sent: 60_000, retransmitted: 30 };
  t.equal(causeOf({ ...slow, segments: lossy }), "path-loss");
  t.equal(causeOf({ ...slow, segments: { sent: 60_000, retransmitted: 20 } }), "path-window", "a few are none");
  t.equal(causeOf({ ...slow, segments: null }), "path-window", "where the system tells nothing");
  t.equal(causeOf(slow), "path-window");
  t.equal(causeOf({ ...slow, roundTrip: { leastMs: 50, medianMs: 110 } }), "path-rate", "its queue is full");
  const full = { ...slow, roundTrip: { leastMs: 50, medianMs: 110 }, segments: lossy };
  t.equal(causeOf(full), "path-rate", "and overflows");
  t.equal(causeOf({}), "path-rate", "a short path has no window");
  t.equal(causeOf({ roundTrip: null }), "path-rate");
  // 0.05% at 0.3 ms lets 250 MiB/s through in each stream.
  t.equal(causeOf({ bytes: SECONDS * 8 * MIB, segments: lossy }), "path-rate", "loss that explains nothing");
});

t.test("the path, where more streams were tried meanwhile", async (t) => {
  const slow = { bytes: SECONDS * 8 * MIB, roundTrip: LONG, knowsMost: true };
  t.match(judge([run(slow)]), { cause: "path-rate", wantsMoreStreams: false });
  const lossy = { segments: { sent: 60_000, retransmitted: 30 } };
  t.match(judge([run({ ...slow, ...lossy })]), { cause: "path-loss", wantsMoreStreams: false });
});

/** As facts of a path of 500 Mbit/s, 50 ms: megabits a second by streams. */
const sweepOf = (rates: Readonly<Record<number, number>>, rest: Partial<RunFigures> = {}) =>
  judge(
    Object.entries(rates).map(([streams, mbit]) =>
      run({ streams: Number(streams), bytes: (SECONDS * mbit * 1e6) / 8, roundTrip: LONG, ...rest }),
    ) as [RunFigures, ...RunFigures[]],
  );

t.test("the path, by a sweep", async (t) => {
  const lossy = { segments: { sent: 100_000, retransmitted: 50 } };
  t.match(sweepOf({ 1: 19, 8: 180, 32: 457 }, lossy), { cause: "path-loss", streams: 32, wantsMoreStreams: true });
  t.match(sweepOf({ 1: 19, 8: 180, 32: 457 }), { cause: "path-window", streams: 32, wantsMoreStreams: true });
  const flat = { 1: 104, 4: 167, 16: 171, 32: 168 };
  t.match(sweepOf(flat), { cause: "path-rate", streams: 4, wantsMoreStreams: false }, "the fewest that come as far");
  const queued = { roundTrip: { leastMs: 50, medianMs: 90 } };
  t.match(sweepOf(flat, { ...lossy, ...queued }), { cause: "path-rate" }, "a full path loses as well");
  const noMore = { cause: "path-loss", streams: 4, wantsMoreStreams: false };
  t.match(sweepOf(flat, lossy), noMore, "one that drops before it queues, or what was lost at the start");
  t.match(sweepOf({ 1: 19, 8: 180 }, queued), { cause: "path-window" }, "what still grows is not full");
  t.match(sweepOf({ 1: 200, 2: 400 }, { roundTrip: null }), { cause: "path-window", wantsMoreStreams: true });
  t.match(sweepOf({ 16: 200, 1: 180, 4: 100 }), { cause: "path-rate", streams: 16 }, "in any order");
  t.match(sweepOf({ 1: 100, 4: 400 }, { receiver: load({ busy: 0.9 }) }), { cause: "receiver-cpu", streams: 4 });
});

t.test("nothing is said of what was over at once, or never began", async (t) => {
  t.equal(causeOf({ seconds: 0.2 }), "too-short");
  t.equal(causeOf({ bytes: 0 }), "too-short");
  t.equal(causeOf({ seconds: 0.2, settlingSeconds: 3 }), "destination-disk", "but of a long commit");
  t.equal(causeOf({ seconds: 0, settlingSeconds: 0 }), "too-short");
});

t.test("shares are of the time, and never more than all of it", async (t) => {
  t.match(sharesOf(load({ busy: 0.5, held: 0.25, cpu: 2 }), SECONDS), { busy: 0.5, held: 0.25, machine: 0.5 });
  t.match(sharesOf(load({ busy: 0.5 }), 1), { busy: 1 });
  t.match(sharesOf(load(), 0), { busy: 0, machine: 0 });
});

t.test("loss is a share of what was sent", async (t) => {
  t.equal(judge([run({ segments: { sent: 1000, retransmitted: 5 } })]).lossShare, 0.005);
  t.equal(judge([run({ segments: null })]).lossShare, null);
  t.equal(judge([run({ segments: { sent: 0, retransmitted: 0 } })]).lossShare, null);
});
