/** The installed program with streams in worker threads: it finds their part of it, stops with them, and goes on. */
import { truncateSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { run, start, startServe } from "./program.ts";

t.test("--workers: it arrives, is interrupted by ^C, and goes on", async (t) => {
  const dir = t.testdir({ in: {}, big: "", small: "a few bytes" });
  truncateSync(join(dir, "big"), 2 ** 30);
  const server = await startServe(join(dir, "in"));
  const workers = ["--to", server.address, "--workers", "2", "--json", "--progress", "json"];
  const whole = await run(["send", "small", ...workers], { cwd: dir });
  t.equal(whole.code, 0);
  t.notMatch(whole.err, /warning/, "no worker is missed");

  const running = start(["send", "big", ...workers], { cwd: dir });
  await running.said(/"phase":"sending","stall":null,"bytesDone":[1-9]/);
  running.child.kill("SIGINT");
  const stopped = await running.ended;
  t.equal(stopped.code, 130);
  t.equal(JSON.parse(stopped.out).error.code, "E_INTERRUPTED");
  const rest = await run(["send", "big", ...workers], { cwd: dir });
  t.equal(rest.code, 0);
  t.match(JSON.parse(rest.out), { ok: true, bytes: 2 ** 30, files: [{ status: "resumed" }] });
  t.notMatch(rest.err, /warning/);
  await server.stop();
});

t.test("--workers that can't be", async (t) => {
  for (const value of ["17", "-1", "many"]) {
    const { code, err } = await run(["send", "x", "--to", "127.0.0.1:1", `--workers=${value}`]);
    t.equal(code, 2, value);
    t.match(err, /--workers .* can't be used/);
  }
});
