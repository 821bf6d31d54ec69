/**
 * For `node --import`: a wall clock that is wrong by CLOCK_OFFSET_MS from the start, and jumps by CLOCK_JUMP_MS at SIGUSR2,
 * which it says as an event. The monotonic clock and timers stay as they are, as they do on a machine whose clock is set.
 */
const Real = Date;
const offsetOf = (name: string) => Number(process.env[name] ?? 0);
let offsetMs = offsetOf("CLOCK_OFFSET_MS");

class JumpingDate extends Real {
  constructor(...args: unknown[]) {
    if (args.length === 0) super(Real.now() + offsetMs);
    else super(...(args as [number]));
  }
  static override now(): number {
    return Real.now() + offsetMs;
  }
}
globalThis.Date = JumpingDate as DateConstructor;

process.on("SIGUSR2", () => {
  offsetMs += offsetOf("CLOCK_JUMP_MS");
  process.stdout.write(`${JSON.stringify({ type: "jumped", nowMs: Date.now() })}\n`);
});
