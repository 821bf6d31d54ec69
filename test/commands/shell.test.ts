/** The shell from a pipe, through the real program. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { inTerminal, noTerminal } from "../helpers/terminal.ts";
import { BIN, run, start, startServe } from "./program.ts";

const SUCCESS = "Your file has been uploaded successfully!\n";

t.test("a transfer: standard output carries the one line", async (t) => {
  const dir = t.testdir({ in: {}, "my file.txt": "content" });
  const server = await startServe(join(dir, "in"));
  const input = `file_name my file.txt\ncount_threads 2\nserver_url ${server.address}\ntransfer_file\nstatus\nhelp\n`;
  const { code, out, err } = await run(["shell"], { cwd: dir, input });
  t.same([code, out], [0, SUCCESS]);
  t.notMatch(err, "hawser>", "there is no prompt");
  t.match(err, /committed {3}1 file/);
  t.match(err, /count_threads +2/);
  t.equal(readFileSync(join(dir, "in", "my file.txt"), "utf8"), "content");
  await server.stop();
});

t.test("mistakes do not end it; the exit code is the last transfer's", async (t) => {
  const dir = t.testdir({ in: { taken: "other" }, taken: "content", good: "good" });
  const server = await startServe(join(dir, "in"));
  const shell = (...lines: string[]) => run(["shell", "--to", server.address], { cwd: dir, input: lines.join("\n") });

  const mistakes = await shell(
    "bogus",
    "count_threads x",
    "file_name nope",
    "file_name good",
    "transfer_file",
    "exit",
    "bogus",
  );
  t.same([mistakes.code, mistakes.out], [0, SUCCESS]);
  t.equal(mistakes.err.match(/there is no command 'bogus'/g)?.length, 1, "nothing after exit");

  const failing = await shell("file_name taken", "transfer_file", "status");
  t.same([failing.code, failing.out], [73, ""]);
  t.match(failing.err, /E_EXISTS/);
  const recovered = await shell("file_name taken", "transfer_file", "file_name good", "transfer_file");
  t.same([recovered.code, recovered.out], [0, SUCCESS]);
  t.match(await shell("file_name nope", "transfer_file"), { code: 66, out: "" });
  t.match(await shell("transfer_file"), { code: 2, out: "", err: /no file is set/ });
  t.match(await shell("status"), { code: 0, out: "" });
  t.match(await shell(), { code: 0, out: "", err: "" });
  await server.stop();
});

t.test("exit ends it while the pipe stays open", async (t) => {
  const running = start(["shell"], { stdio: ["pipe", "pipe", "pipe"] });
  running.child.stdin?.write("exit\n");
  t.match(await running.ended, { code: 0, out: "" });
});

t.test("a signal during a transfer ends it, and what stands after it in the pipe is not done", async (t) => {
  const dir = t.testdir({ in: {}, good: "good" });
  const server = await startServe(join(dir, "in"));
  server.child.kill("SIGSTOP");
  const input = `file_name good\ntransfer_file\ntransfer_file\n`;
  const running = start(["shell", "--to", server.address, "--progress", "json", "--timeout", "1h"], {
    cwd: dir,
    input,
  });
  await running.said(/"phase":"connecting"/);
  running.child.kill("SIGINT");
  t.match(await running.ended, { code: 130, out: "" });
  server.child.kill("SIGCONT");
  await server.stop();
});

t.test("at a terminal the line comes before the next prompt", { skip: noTerminal() ?? false }, async (t) => {
  const dir = t.testdir({ in: {}, file: "content" });
  const server = await startServe(join(dir, "in"));
  const command = [process.execPath, BIN, "shell", "--to", server.address];
  const terminal = inTerminal(t, command, { XDG_STATE_HOME: String(process.env["XDG_STATE_HOME"]) });
  await terminal.shown(/hawser> /);
  terminal.type(`file_name ${join(dir, "file")}\r`);
  await terminal.shown(/hawser> /);
  terminal.type("transfer_file\r");
  await terminal.shown(/hawser> /);
  terminal.type("exit\r");
  const { code, text } = await terminal.ended;
  t.equal(code, 0);
  t.match(text, /[^ ]\r?\nYour file has been uploaded successfully!\r\n[^Y]*hawser> /);
  t.notMatch(text, /hawser> [^ ]*Your file/);
  await server.stop();
});
