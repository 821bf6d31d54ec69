/** How far a transfer is, with the clock and the timer in the test's hand. */
import assert from "node:assert/strict";
import fc from "fast-check";
import t, { type Test } from "tap";
import { ProgressReporter } from "../../src/client/progress.ts";
import type { TransferEvent } from "../../src/client/types.ts";
import type { SourceSession } from "../../src/source/session.ts";

type Progress = Extract<TransferEvent, { type: "progress" }>;

const TIMER = {};

/** A reporter whose timer goes off when it is told to. */
function reporter(t: Pick<Test, "intercept">, totals: { files: number; bytes: number | null }) {
  let nowMs = 1000;
  let ring: (() => void) | undefined;
  const restored = [
    t.intercept(performance, "now", { value: () => nowMs }),
    t.intercept(globalThis, "setInterval", {
      value: (callback: () => void) => {
        ring = callback;
        return TIMER;
      },
    }),
  ];
  const events: Progress[] = [];
  const session = { isComparing: false, hasOutstanding: true };
  const shown = { stall: undefined as { ms: number; waitingFor: string } | undefined };
  const it = new ProgressReporter(totals, (event) => event.type === "progress" && events.push(event));
  return {
    it,
    events,
    session,
    shown,
    begin: (streams = 2) => {
      it.begin(session as unknown as SourceSession, () => shown.stall);
      it.streams(streams);
    },
    /** The event after so many milliseconds. */
    after: (ms: number): Progress => {
      nowMs += ms;
      ring?.();
      return events.at(-1) as Progress;
    },
    restore: () => {
      for (const intercepted of restored) intercepted.restore();
    },
  };
}

t.test("from connecting to the last byte", async (t) => {
  const { it, begin, after, session } = reporter(t, { files: 2, bytes: 3000 });
  t.match(after(200), {
    phase: "connecting",
    bytesDone: 0,
    bytesTotal: 3000,
    filesDone: 0,
    filesTotal: 2,
    stall: null,
  });
  begin();
  t.match(after(200), { phase: "sending", bytesDone: 0, streamBytes: [0, 0], etaMs: null });
  it.acknowledged(0, 500);
  it.acknowledged(1, 300);
  it.acknowledged(0, 200);
  t.match(after(200), { bytesDone: 1000, streamBytes: [700, 300], elapsedMs: 600 });
  it.settled(1000);
  t.match(after(200), { bytesDone: 1000, filesDone: 1 });
  it.acknowledged(1, 2000);
  session.hasOutstanding = false;
  t.match(after(200), { phase: "committing", bytesDone: 3000, filesDone: 1 });
  it.settled(2000);
  t.match(after(200), { bytesDone: 3000, filesDone: 2, etaMs: 0 });
});

t.test("a steady rate, and what is left at that rate", async (t) => {
  const { it, begin, after } = reporter(t, { files: 1, bytes: 1_000_000 });
  begin();
  let event = after(0);
  for (let i = 0; i < 50; i++) {
    it.acknowledged(0, 2000);
    event = after(200);
  }
  t.ok(Math.abs(event.bytesPerSecond - 10_000) < 1, `${event.bytesPerSecond}`);
  t.ok(Math.abs((event.etaMs ?? 0) - 90_000) < 100, `${event.etaMs}`);
});

t.test("what was there counts as done, and not as fast", async (t) => {
  const { it, begin, after } = reporter(t, { files: 1, bytes: 1_000_000 });
  begin();
  it.inherited(900_000);
  t.match(after(200), { bytesDone: 900_000, bytesPerSecond: 0, etaMs: null, streamBytes: [0, 0] });
  it.acknowledged(0, 2000);
  const event = after(200);
  t.match(event, { bytesDone: 902_000 });
  t.ok(event.bytesPerSecond > 0 && event.bytesPerSecond <= 10_000, `${event.bytesPerSecond}`);
  it.settled(1_000_000);
  t.match(after(200), { bytesDone: 1_000_000, phase: "committing" });
});

t.test("a file that was settled without a byte of it counts whole", async (t) => {
  const { it, begin, after } = reporter(t, { files: 2, bytes: 3000 });
  begin();
  it.settled(1000);
  t.match(after(200), { bytesDone: 1000, filesDone: 1 });
});

t.test("what is sent counts on top of what was there unchanged", async (t) => {
  const { it, begin, after } = reporter(t, { files: 2, bytes: 4000 });
  begin();
  it.settled(3000, false);
  it.acknowledged(0, 400);
  t.match(after(200), { bytesDone: 3400, filesDone: 1 });
  it.restarted();
  t.match(after(200), { bytesDone: 3000 });
  it.inherited(400);
  it.acknowledged(0, 600);
  t.match(after(200), { bytesDone: 4000, filesDone: 1 });
  it.settled(1000);
  t.match(after(200), { bytesDone: 4000, filesDone: 2 });
});

t.test("begun anew: what counts is what the server says again", async (t) => {
  const { it, begin, after } = reporter(t, { files: 2, bytes: 3000 });
  begin();
  it.acknowledged(0, 1000);
  it.settled(1000);
  it.acknowledged(0, 1500);
  t.match(after(200), { bytesDone: 2500 });
  it.restarted();
  t.match(after(200), { bytesDone: 1000, filesDone: 1, streamBytes: [2500, 0] });
  it.inherited(1200);
  t.match(after(200), { bytesDone: 2200 });
  it.acknowledged(1, 800);
  t.match(after(200), { bytesDone: 3000, streamBytes: [2500, 800] });
});

t.test("no rate is below zero, also when the session was begun anew", async (t) => {
  const { it, begin, after } = reporter(t, { files: 1, bytes: 1_000_000_000 });
  begin();
  for (let i = 0; i < 20; i++) {
    it.acknowledged(0, 10_000_000);
    after(200);
  }
  it.restarted();
  let event = after(200);
  t.ok(event.bytesPerSecond >= 0, `${event.bytesPerSecond} after the restart`);
  it.inherited(200_000_000);
  event = after(200);
  t.ok(event.bytesPerSecond >= 0, `${event.bytesPerSecond} when it is known what is there`);
  t.ok(event.etaMs === null || event.etaMs > 0);
});

t.test("stalled: what is waited for, and then as before", async (t) => {
  const { it, begin, after, shown } = reporter(t, { files: 1, bytes: 1000 });
  shown.stall = { ms: 5000, waitingFor: "nobody asks yet" };
  t.match(after(200), { phase: "connecting", stall: null });
  begin();
  t.match(after(200), { phase: "stalled", stall: { ms: 5000, waitingFor: "nobody asks yet" } });
  shown.stall = { ms: 5200, waitingFor: "the server to write" };
  t.match(after(200), { phase: "stalled", stall: { ms: 5200, waitingFor: "the server to write" } });
  shown.stall = undefined;
  it.acknowledged(0, 1);
  t.match(after(200), { phase: "sending", stall: null });
});

t.test("reading what is there is comparing, as long as nothing is to be acknowledged", async (t) => {
  const { it, begin, after, session } = reporter(t, { files: 1, bytes: 1000 });
  begin();
  session.isComparing = true;
  t.match(after(200), { phase: "sending" }, "both at once");
  session.hasOutstanding = false;
  t.match(after(200), { phase: "comparing" });
  it.inherited(1000);
  t.match(after(200), { phase: "comparing" });
  session.isComparing = false;
  t.match(after(200), { phase: "committing" });
});

t.test("of what has no end", async (t) => {
  const { it, begin, after } = reporter(t, { files: 1, bytes: null });
  begin();
  it.acknowledged(0, 5000);
  t.match(after(200), { bytesDone: 5000, bytesTotal: null, etaMs: null, phase: "sending" });
});

t.test("the last word is said at the end, and the timer ends", async (t) => {
  const { it, begin, events } = reporter(t, { files: 1, bytes: 1000 });
  const ended: unknown[] = [];
  t.intercept(globalThis, "clearInterval", { value: (timer: unknown) => void ended.push(timer) });
  begin();
  it.acknowledged(0, 1000);
  it.stop();
  t.match(events, [{ bytesDone: 1000 }]);
  t.strictSame(ended, [TIMER], "the timer that was begun");
});

interface Step {
  readonly kind: "plan" | "acknowledge" | "settle" | "restart" | "look";
  readonly file: number;
  readonly part: number;
}

const anyStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("plan", "acknowledge", "acknowledge", "acknowledge", "settle", "look", "look", "restart"),
  file: fc.nat(3),
  part: fc.double({ min: 0, max: 1, noNaN: true }),
});

t.test("never above the total, and never backwards but when the session is begun anew", async (t) => {
  const sizes = fc.array(fc.nat(10_000), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(sizes, fc.array(anyStep, { maxLength: 60 }), (sizes, steps) => {
      const total = sizes.reduce((sum, size) => sum + size, 0);
      const { it, begin, after, restore } = reporter(t, { files: sizes.length, bytes: total });
      try {
        begin();
        /** What of each file is at the server, as this generation of the session knows it; settled ones are gone. */
        const there = new Map<number, number>();
        const open = new Set(sizes.keys());
        let before = 0;
        for (const { kind, file: any, part } of steps) {
          const file = any % sizes.length;
          const size = sizes[file] as number;
          if (kind === "plan" && open.has(file) && !there.has(file)) {
            const bytes = Math.floor(part * size);
            there.set(file, bytes);
            it.inherited(bytes);
          } else if (kind === "acknowledge" && open.has(file) && there.has(file)) {
            // Chunks that are sent again, since what was there is spoilt, are acknowledged on top.
            const bytes = Math.ceil(part * size);
            it.acknowledged(0, bytes);
          } else if (kind === "settle" && open.delete(file)) it.settled(size, there.has(file));
          else if (kind === "restart") {
            it.restarted();
            there.clear();
            before = 0;
          }
          const event = after(200);
          assert.ok(event.bytesDone >= 0 && event.bytesDone <= total, `${event.bytesDone} of ${total}`);
          assert.ok(event.bytesDone >= before, `${event.bytesDone} after ${before}`);
          assert.ok(event.bytesPerSecond >= 0, `${event.bytesPerSecond} bytes a second`);
          assert.ok(event.etaMs === null || event.etaMs >= 0);
          before = event.bytesDone;
        }
      } finally {
        restore();
      }
    }),
    { numRuns: 500 },
  );
});
