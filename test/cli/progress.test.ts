import { EventEmitter } from "node:events";
import t from "tap";
import { progressMode } from "../../src/cli/progress.ts";
import { barProgress, streamLine, totalLine } from "../../src/cli/progress-bar.ts";
import { errorLine, jsonProgress, progressRecord } from "../../src/cli/progress-json.ts";
import { plainProgress } from "../../src/cli/progress-plain.ts";
import { progressText, stallText } from "../../src/cli/progress-view.ts";
import { CONNECTED, FAILED_FILE, FILE, fakeOutput, PROGRESS, REFUSED, STALLED } from "./fakes.ts";
import { nonconformity } from "./schema.ts";

t.test("which view is chosen", async (t) => {
  const terminal = fakeOutput({ err: true });
  const pipe = fakeOutput();
  t.equal(progressMode("auto", false, terminal, {}), "bar");
  t.equal(progressMode("auto", false, terminal, { TERM: "dumb" }), "plain");
  t.equal(progressMode("auto", false, pipe, {}), "plain");
  t.equal(progressMode("auto", true, terminal, {}), "none");
  t.equal(progressMode("json", true, terminal, {}), "json", "asked for is asked for");
  t.equal(progressMode("bar", false, pipe, {}), "plain", "bars need a terminal");
});

t.test("a line of text: golden", async (t) => {
  t.equal(progressText(PROGRESS), "1.20 GiB of 4.00 GiB (30%), 812 MiB/s, 4 s left");
  t.equal(
    progressText({ ...PROGRESS, filesDone: 2, filesTotal: 1200, etaMs: null }),
    "1.20 GiB of 4.00 GiB (30%), 2 of 1,200 files, 812 MiB/s",
  );
  t.equal(progressText({ ...PROGRESS, bytesTotal: null, etaMs: null }), "1.20 GiB, 812 MiB/s");
  t.equal(
    progressText({ ...PROGRESS, limitBytesPerSecond: 900 * 1024 ** 2 }),
    "1.20 GiB of 4.00 GiB (30%), 812 MiB/s (limit 900 MiB/s), 4 s left",
  );
  t.equal(
    progressText({ ...PROGRESS, phase: "committing", bytesDone: 4_294_967_296 }),
    "committing: 4.00 GiB of 4.00 GiB (100%)",
  );
});

t.test("a line of text when nothing moves: what is waited for", async (t) => {
  t.equal(
    stallText({ ms: 12_999, waitingFor: "the server to write" }),
    "no data for 12 s: waiting for the server to write",
  );
  t.equal(progressText(STALLED), "1.20 GiB of 4.00 GiB (30%), no data for 12 s: waiting for the server to write");
  t.equal(
    progressText({ ...STALLED, filesDone: 2, filesTotal: 9, bytesTotal: null }),
    "1.20 GiB, 2 of 9 files, no data for 12 s: waiting for the server to write",
  );
  const stall = { ms: 3000, waitingFor: "the server to be reached again (a\u001b[2Jb)" };
  t.match(progressText({ ...STALLED, stall }), /reached again \(a\\u\{1b\}\[2Jb\)/, "words from afar are escaped");
});

t.test("plain: a line every three seconds, by the events' own clock", async (t) => {
  const output = fakeOutput();
  const view = plainProgress(output);
  const times = [0, 200, 2999, 3000, 3200, 5999, 6100, 20_000];
  for (const elapsedMs of times) view.show({ ...PROGRESS, elapsedMs, bytesDone: elapsedMs * 1024 });
  view.show(CONNECTED);
  view.stop();
  t.same(
    output.log.map((line) => /^2hawser: ([\d.]+ MiB)/.exec(line)?.[1]),
    ["2.93 MiB", "5.96 MiB", "19.5 MiB"],
  );
  view.show({ ...STALLED, elapsedMs: 23_000 });
  t.match(output.log.at(-1), /^2hawser: 1\.20 GiB .*no data for 12 s: waiting for the server to write\n$/);
});

t.test("json: every event is a line that conforms to its schema", async (t) => {
  const output = fakeOutput();
  const view = jsonProgress(output);
  view.show(CONNECTED);
  view.show(PROGRESS);
  view.show({ ...PROGRESS, phase: "connecting", bytesTotal: null, etaMs: null });
  view.show(STALLED);
  view.show({ type: "file", file: FILE });
  view.show({ type: "file", file: FAILED_FILE });
  view.show({ type: "file", file: { ...FILE, replaced: true } });
  view.show({ type: "warning", message: "a\u001b[2Jb" });
  output.err(errorLine(REFUSED.error!));
  view.stop();
  const lines = output.errText().trimEnd().split("\n");
  t.equal(lines.length, 9);
  for (const line of lines) t.equal(nonconformity("progress-event", JSON.parse(line)), undefined, line);
  t.same(Object.keys(progressRecord(PROGRESS))[0], "event");
  t.type(nonconformity("progress-event", { event: "progress", bytesDone: 1 }), "string", "the schema refuses");
  t.type(nonconformity("progress-event", { event: "other" }), "string", "the schema refuses");
  const { stall: _, ...unsaid } = progressRecord(PROGRESS);
  t.type(nonconformity("progress-event", unsaid), "string", "stall is always there");
  t.type(nonconformity("progress-event", { ...progressRecord(STALLED), stall: null }), "string", "stalled by what?");
  t.type(nonconformity("progress-event", { ...progressRecord(STALLED), phase: "sending" }), "string");
});

t.test("bars: lines as they are drawn", async (t) => {
  t.equal(totalLine(PROGRESS, 100), "█████████░░░░░░░░░░░░░░░░░░░░░   30%  812 MiB/s  4 s left  1.20 GiB of 4.00 GiB");
  t.equal(streamLine(0, PROGRESS, 100), "████░░░░░░░░░░░░░░░░░░░░░░░░░░     1  614 MiB");
  t.equal(totalLine({ ...PROGRESS, phase: "connecting" }, 100), "connecting");
  t.equal(totalLine(STALLED, 100), "30%  no data for 12 s: waiting for the server to write");
  t.equal(
    totalLine({ ...STALLED, bytesTotal: null }, 100),
    "1.20 GiB  no data for 12 s: waiting for the server to write",
  );
  t.equal(totalLine({ ...PROGRESS, bytesTotal: null }, 100), "1.20 GiB, 812 MiB/s, 4 s left");
  t.equal(totalLine({ ...PROGRESS, bytesDone: 0, bytesTotal: 0 }, 20), "██████  100%");
});

t.test("bars: no line is as wide as the window", async (t) => {
  for (let columns = 1; columns <= 200; columns++) {
    for (const line of [totalLine(PROGRESS, columns), totalLine(STALLED, columns), streamLine(3, PROGRESS, columns)]) {
      if (line.length >= Math.max(2, columns)) t.fail(`${columns} columns: '${line}'`);
    }
  }
});

/** A terminal that keeps what was written to it. */
function fakeTerminal(columns: number, rows: number) {
  const written: string[] = [];
  const terminal = Object.assign(new EventEmitter(), {
    isTTY: true,
    columns,
    rows,
    write: (text: string, ...rest: unknown[]) => {
      written.push(text);
      const done = rest.at(-1);
      if (typeof done === "function") done();
      return true;
    },
  });
  return { terminal: terminal as unknown as NodeJS.WriteStream, written };
}

const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";

t.test("bars: the terminal is left as it was", async (t) => {
  const { terminal, written } = fakeTerminal(100, 24);
  const before = process.listenerCount("exit");
  const signals = process.listenerCount("SIGINT");
  const view = barProgress(terminal);
  view.show(PROGRESS);
  t.equal(process.listenerCount("SIGINT"), signals, "^C is not swallowed");
  t.ok(written.includes(HIDE_CURSOR));
  view.stop();
  view.stop();
  t.ok(written.lastIndexOf(SHOW_CURSOR) > written.lastIndexOf(HIDE_CURSOR), "the cursor is back");
  t.ok(written.includes("\u001b[?7h"), "line wrapping is back");
  t.equal(terminal.listenerCount("resize"), 0);
  t.equal(process.listenerCount("exit"), before);
});

t.test("bars: what is written beside them waits for a moment without them, in order", async (t) => {
  const { terminal, written } = fakeTerminal(100, 24);
  const view = barProgress(terminal);
  const order: string[] = [];
  view.aside(() => order.push("before any bar"));
  t.same(order, ["before any bar"]);
  view.show(PROGRESS);
  view.aside(() =>
    order.push(written.at(-1) === "\u001b[0J" || written.includes(SHOW_CURSOR) ? "cleared" : "drawn over"),
  );
  view.aside(() => order.push("second"));
  t.same(order, ["before any bar"]);
  view.show(PROGRESS);
  t.same(order, ["before any bar", "cleared", "second"]);
  for (let i = 0; i < 256; i++) view.aside(() => order.push(String(i)));
  t.equal(order.at(-1), "255", "a full queue does not wait");
  view.show(PROGRESS);
  view.aside(() => order.push("at the end"));
  view.stop();
  t.equal(order.at(-1), "at the end");
});

t.test("bars: streams have lines where the window has room for all of them", async (t) => {
  for (const [rows, lines] of [
    [24, 5],
    [5, 1],
  ] as const) {
    const { terminal, written } = fakeTerminal(100, rows);
    const view = barProgress(terminal);
    view.show(PROGRESS);
    terminal.emit("resize");
    view.show(PROGRESS);
    const start = written.lastIndexOf(HIDE_CURSOR);
    // A new line is written between two bars when they are drawn; the count of bars is what matters.
    await new Promise<void>((resolve) => {
      const check = () => (written.slice(start).some((text) => text.includes("30%")) ? resolve() : setImmediate(check));
      check();
    });
    t.equal(written.slice(start).filter((text) => text === "\n").length, lines - 1, `${rows} rows`);
    view.stop();
  }
});
