import { EventEmitter } from "node:events";
import t from "tap";
import { isForeground, watchKeys } from "../../src/cli/keys.ts";
import { limitAfter } from "../../src/cli/limit-keys.ts";
import { RATE_MIN } from "../../src/cli/values.ts";

t.test("keys raise and lower the limit by a quarter, begin with the present rate, and end it", async (t) => {
  t.equal(limitAfter("+", 1_000_000, 5), 1_250_000);
  t.equal(limitAfter("=", 1_000_000, 5), 1_250_000, "the same key without shift");
  t.equal(limitAfter("-", 1_000_000, 5), 750_000);
  t.equal(limitAfter("-", null, 4_000_000), 3_000_000);
  t.equal(limitAfter("-", null, 0), undefined, "nothing moves yet");
  t.equal(limitAfter("-", RATE_MIN, 5), RATE_MIN);
  t.equal(limitAfter("0", 1000, 5), null);
  t.equal(limitAfter("0", null, 5), undefined);
  t.equal(limitAfter("x", 1000, 5), undefined);
});

/** A terminal that notes its modes. */
class FakeTerminal extends EventEmitter {
  isTTY = true as const;
  isRaw = false;
  readonly log: string[] = [];
  setRawMode(raw: boolean): this {
    this.isRaw = raw;
    this.log.push(raw ? "raw" : "cooked");
    return this;
  }
  pause(): this {
    this.log.push("pause");
    return this;
  }
  resume(): this {
    this.log.push("resume");
    return this;
  }
}

t.test("a terminal is read in raw mode, ^C is an interrupt, and all is as it was afterwards", async (t) => {
  const terminal = new FakeTerminal();
  const heard: string[] = [];
  const interrupts = { raise: (interrupt: string) => void heard.push(interrupt) };
  const before = process.listenerCount("exit") + process.listenerCount("SIGCONT");
  const stop = watchKeys(
    terminal as never,
    interrupts,
    (key) => heard.push(key),
    () => true,
  );
  terminal.emit("data", Buffer.from("+\x03-"));
  t.same(heard, ["+", "SIGINT", "-"]);
  stop();
  t.same(terminal.log, ["raw", "resume", "pause", "cooked"]);
  terminal.emit("data", Buffer.from("+"));
  t.equal(heard.length, 3);
  t.equal(terminal.eventNames().length, 0);
  t.equal(process.listenerCount("exit") + process.listenerCount("SIGCONT"), before);
});

t.test("what is no terminal, or not ours, is left alone", async (t) => {
  const terminal = new FakeTerminal();
  const nobody = { raise: () => t.fail("nobody is interrupted") };
  watchKeys({ isTTY: false } as never, nobody, () => {})();
  const stop = watchKeys(
    terminal as never,
    nobody,
    () => {},
    () => false,
  );
  stop();
  t.same(terminal.log, []);
  t.type(isForeground(), "boolean");
});
