/** Whatever the other end says, a program goes on or ends with an error of the table: shown on processes of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { nameOf } from "../helpers/bytes.ts";
import { connectTo, hello, soon } from "../helpers/wire-end.ts";

function child(t: Test, script: string, ...args: string[]): { process: ChildProcess; out: Promise<string> } {
  const path = fileURLToPath(new URL(`../helpers/${script}`, import.meta.url));
  const started = spawn(process.execPath, [path, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  t.teardown(() => started.kill());
  let errors = "";
  started.stderr.on("data", (bytes) => {
    errors += bytes;
  });
  started.on("exit", (code) => {
    if (code) t.comment(errors);
  });
  const out = once(started.stdout, "data").then(([bytes]) => String(bytes));
  return { process: started, out };
}

t.test("a client that gives a stream up with an ERROR does not end the server", async (t) => {
  const server = child(t, "child-serve.ts", t.testdir());
  const endpoint = { host: "127.0.0.1", port: Number(await server.out) };
  const control = await connectTo(t, endpoint);
  control.connection.send("HELLO", hello());
  const { session, generation } = await control.heard.message("WELCOME");
  const stream = await connectTo(t, endpoint);
  stream.connection.send("ATTACH", { session, generation, stream: 0, attempt: 0 });
  await stream.heard.message("ATTACHED");
  const file = { file: 0, name: nameOf("a"), size: 200_000, mtime: [0, 0] as [number, number], mode: 0o644 };
  control.connection.send("OFFER", { settledBelow: 0, files: [file] });
  await control.heard.message("PLAN");
  stream.chunk(0, 0, new Uint8Array(65_536));
  stream.connection.send("ERROR", { code: 602, message: "never mind" });
  const ended = once(server.process, "exit").then(() => "the server ended");
  const closed = stream.heard.closed.then(() => "the stream was closed");
  t.equal(await soon(Promise.race([ended, closed]), "the end of the stream", 3000), "the stream was closed");
  const another = await connectTo(t, endpoint);
  another.connection.send("HELLO", hello());
  await another.heard.message("WELCOME");
});

t.test("a server that is stopped on the way does not end the client with a trace", async (t) => {
  const path = join(t.testdir(), "large");
  const fd = openSync(path, "w");
  ftruncateSync(fd, 4e9);
  closeSync(fd);
  const client = child(t, "child-send-to-stopped.ts", path);
  const out = client.out.catch(() => "");
  const [code] = (await soon(once(client.process, "exit"), "the client's end")) as [number];
  t.equal(code, 0);
  if (code === 0) t.strictSame(JSON.parse(await out), { stopped: true, code: "E_TIMEOUT" });
});
