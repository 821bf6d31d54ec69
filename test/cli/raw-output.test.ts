import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import t from "tap";
import { DescriptorOutput } from "../../src/cli/raw-output.ts";

t.test("a file that was given is written, counted, and left open also when the stream is given up", async (t) => {
  const path = join(t.testdir({}), "out");
  const fd = openSync(path, "w");
  const output = new DescriptorOutput(fd);
  await new Promise<void>((resolve) => output.write(Buffer.from("one "), () => resolve()));
  await new Promise<void>((resolve) => output.write(Buffer.alloc(3 * 1024 * 1024, "x"), () => resolve()));
  t.equal(output.bytesWritten, 4 + 3 * 1024 * 1024);
  output.destroy();
  await finished(output).catch(() => {});
  t.equal(writeSync(fd, " and more"), 9, "the descriptor is still good");
  closeSync(fd);
  t.equal(readFileSync(path, "latin1"), `one ${"x".repeat(3 * 1024 * 1024)} and more`);
});

t.test("what can't be written is an error of the stream", async (t) => {
  const fd = openSync(join(t.testdir({ file: "" }), "file"), "r");
  const output = new DescriptorOutput(fd);
  const failed = new Promise((resolve) => output.once("error", resolve));
  output.write(Buffer.from("x"));
  t.match(await failed, { code: "EBADF" });
  closeSync(fd);
});
