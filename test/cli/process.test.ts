/** What touches the process and its streams: output, signals, lines, files. */
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough, Readable, Writable } from "node:stream";
import t from "tap";
import { watchInterrupts } from "../../src/cli/interrupts.ts";
import { readLines } from "../../src/cli/lines.ts";
import { processOutput } from "../../src/cli/output.ts";
import { firstDifference, writeRandomFile } from "../../src/cli/random-file.ts";
import { makeScratch } from "../../src/cli/scratch.ts";

function failingStream(code: string): NodeJS.WriteStream {
  const stream = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error(`write ${code}`), { code })),
  });
  return stream as unknown as NodeJS.WriteStream;
}

const stream = () => new PassThrough() as unknown as NodeJS.WriteStream & PassThrough;

t.test("a closed pipe is a quiet end", async (t) => {
  const output = processOutput(failingStream("EPIPE"), stream());
  const closed = new Promise<void>((resolve) => output.onOutClosed(resolve));
  output.out("a");
  await closed;
  t.ok(output.outClosed);
  output.out("dropped");
  await output.drained();
  let late = false;
  output.onOutClosed(() => {
    late = true;
  });
  t.ok(late, "who asks later is told at once");
});

t.test("a full disk is an error", async (t) => {
  const output = processOutput(failingStream("ENOSPC"), stream());
  output.out("a");
  await t.rejects(output.drained(), { code: "E_IO", message: /write ENOSPC/ });
});

t.test("without a reader of standard error there is nothing to say", async () => {
  const err = failingStream("EPIPE");
  const output = processOutput(stream(), err);
  const failed = once(err, "error");
  output.err("a");
  await failed;
  output.err("b");
  await output.drained();
});

t.test("what may be said later leaves in one piece, and before what is said after it", async (t) => {
  const writes: string[] = [];
  const err = new Writable({
    write: (chunk, _encoding, done) => {
      writes.push(`${chunk}`);
      done();
    },
  });
  const output = processOutput(stream(), err as unknown as NodeJS.WriteStream);
  output.errSoon("a\n");
  output.errSoon("b\n");
  t.strictSame(writes, []);
  await new Promise((resolve) => setImmediate(resolve));
  t.strictSame(writes, ["a\nb\n"]);
  output.errSoon("c\n");
  output.err("d\n");
  t.strictSame(writes, ["a\nb\n", "c\nd\n"]);
});

t.test("signals: the first ends the work, the second the process", async (t) => {
  const exits: number[] = [];
  const said: string[] = [];
  const before = process.listenerCount("SIGINT");
  const interrupts = watchInterrupts({
    onFirst: () => said.push("first"),
    onSecond: (error) => said.push(error.code),
    exit: (code) => exits.push(code),
  });
  t.equal(process.listenerCount("SIGINT"), before + 1);
  interrupts.raise("SIGINT");
  t.match(interrupts.signal.reason, { code: "E_INTERRUPTED", exitCode: 130 });
  t.same(exits, []);
  interrupts.raise("SIGTERM");
  t.same(exits, [143]);
  interrupts.raise("SIGINT");
  t.same(exits, [143, 130]);
  t.same(said, ["first", "E_TERMINATED", "E_INTERRUPTED"]);
  interrupts.dispose();
  t.equal(process.listenerCount("SIGINT"), before);
});

t.test("SIGTERM first", async (t) => {
  const interrupts = watchInterrupts({ exit: () => {} });
  interrupts.raise("SIGTERM");
  t.match(interrupts.signal.reason, { code: "E_TERMINATED", exitCode: 143 });
  interrupts.dispose();
});

async function linesOf(...chunks: (string | Buffer)[]): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readLines(
    Readable.from(
      chunks.map((chunk) => Buffer.from(chunk)),
      { objectMode: false },
    ),
  )) {
    lines.push(line);
  }
  return lines;
}

t.test("lines, however they are cut", async (t) => {
  t.same(await linesOf("a\nb\r\n\nc"), ["a", "b", "", "c"]);
  t.same(await linesOf("a", "b\n", "c", "\n"), ["ab", "c"]);
  t.same(await linesOf(), []);
  const umlaut = Buffer.from("ü\n");
  t.same(await linesOf(umlaut.subarray(0, 1), umlaut.subarray(1)), ["ü"]);
  await t.rejects(linesOf("x".repeat(65 * 1024)), { code: "E_USAGE" });
});

t.test("random files, and their comparison", async (t) => {
  const dir = t.testdir({});
  const MIB = 1024 * 1024;
  for (const bytes of [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB + 17]) {
    const [a, b] = [join(dir, `a${bytes}`), join(dir, `b${bytes}`)];
    await writeRandomFile(a, bytes);
    t.equal(statSync(a).size, bytes);
    const content = readFileSync(a);
    writeFileSync(b, content);
    t.equal(await firstDifference(a, b), undefined, `${bytes} bytes are the same`);
    writeFileSync(b, Buffer.concat([content, Buffer.of(0)]));
    t.equal(await firstDifference(a, b), bytes, `${bytes} bytes and one more`);
    t.equal(await firstDifference(b, a), bytes, `one less than ${bytes + 1} bytes`);
    if (bytes === 0) continue;
    const at = bytes - 1;
    content[at] = (content[at]! + 1) % 256;
    writeFileSync(b, content);
    t.equal(await firstDifference(a, b), at, `the last of ${bytes} bytes differs`);
  }
  await t.rejects(firstDifference(join(dir, "none"), join(dir, "none")), { code: "E_IO" });
  await t.rejects(writeRandomFile(join(dir, "a1"), 1), { code: "E_IO" }, "nothing is overwritten");
  await t.rejects(writeRandomFile(join(dir, "c"), 1, AbortSignal.abort(new Error("stop"))), /stop/);
});

t.test("a scratch directory is gone afterwards", async (t) => {
  const before = process.listenerCount("exit");
  const scratch = await makeScratch(1, () => {});
  writeFileSync(join(scratch.dir, "x"), "x");
  await scratch.remove();
  t.notOk(existsSync(scratch.dir));
  t.equal(process.listenerCount("exit"), before);
  await t.rejects(
    makeScratch(Number.MAX_SAFE_INTEGER, () => {}),
    { code: "E_NO_SPACE" },
  );
});
