/** Pipes into and out of the real program: exit codes, what is said, and that nothing short is ever committed. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { nonconformity } from "../cli/schema.ts";
import { contentOf, hexCrc32, makeFile, namesIn } from "../helpers/files.ts";
import { BIN, endWithTest, environment, run, start, startServe, WORK_DIRECTORY } from "./program.ts";

const MIB = 1024 * 1024;
const HAWSER = `"${process.execPath}" "${BIN}"`;
const env = environment();

/** Bash in a process group of its own, as a terminal makes for a pipeline. */
function bash(script: string, ...args: string[]) {
  const child = spawn("bash", ["-c", `set -o pipefail; ${script}`, "bash", ...args], {
    env,
    cwd: WORK_DIRECTORY,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return endWithTest(child, { detached: true });
}

/** Runs a line in bash, with `hawser` for the program; `$1` and so on are `args`. */
function shell(line: string, ...args: string[]) {
  const child = bash(`hawser() { ${HAWSER} "$@"; }; ${line}`, ...args);
  let [out, err] = ["", ""];
  child.stdout.on("data", (bytes: Buffer) => {
    out += bytes.toString("latin1");
  });
  child.stderr.on("data", (bytes: Buffer) => {
    err += bytes.toString();
  });
  return new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, out, err })),
  );
}

t.test("a program's output, as a file: receipt, exit code, and what is said up front", async (t) => {
  const dir = t.testdir({ in: {} });
  const server = await startServe(join(dir, "in"));
  const content = contentOf(5 * MIB + 7);
  const path = makeFile(join(dir, "f"), content.length);
  const crc = hexCrc32(content);
  const piped = await shell('cat "$1" | hawser send - --name a.bin --into x --to "$2"', path, server.address);
  t.equal(piped.code, 0);
  t.match(piped.out, new RegExp(`^sent +5\\.00 MiB {2}${crc} {2}x/a\\.bin\ncommitted {3}1 file`));
  t.match(piped.err, /^hawser: warning: standard input is read once: .*--spool DIR makes it resumable/);
  t.ok(readFileSync(join(dir, "in", "x", "a.bin")).equals(content));

  const expected = `--expect-bytes ${content.length} --expect-crc32 ${crc.toUpperCase()}`;
  const json = await shell(`hawser send - --name b --to "$2" -q --json ${expected} < "$1"`, path, server.address);
  t.match(json, { code: 0, err: "" }, "a file works as well, and -q warns of nothing");
  t.equal(nonconformity("send", JSON.parse(json.out)), undefined);
  t.match(JSON.parse(json.out), { ok: true, files: [{ name: "b", crc32: crc, status: "sent" }] });

  const events = await shell('cat "$1" | hawser send - --name c --to "$2" --progress json', path, server.address);
  for (const line of events.err.trimEnd().split("\n")) {
    t.equal(nonconformity("progress-event", JSON.parse(line)), undefined, line);
  }
  const empty = await shell('hawser send - --name empty --to "$1" < /dev/null', server.address);
  t.equal(empty.code, 0);
  t.equal(statSync(join(dir, "in", "empty")).size, 0);

  const before = namesIn(join(dir, "in"));
  for (const wrong of [`--expect-bytes ${content.length - 1}`, "--expect-bytes 1GiB", "--expect-crc32 00000000"]) {
    const refused = await shell(`cat "$1" | hawser send - --name w --to "$2" ${wrong}`, path, server.address);
    t.match(refused, { code: 65, out: "", err: /expected \(E_CONTENT\)\n/ }, wrong);
    t.notMatch(refused.err, /The same command/);
  }
  const endless = await shell('yes | hawser send - --name w --to "$1" --expect-bytes 10MiB', server.address);
  t.match(endless, { code: 65, err: /has more than the 10485760 bytes/ }, "an endless producer is stopped");
  const refused = await shell('yes | hawser send - --name b --to "$1"', server.address);
  t.match(refused, { code: 73, err: /E_EXISTS/ });
  const closed = await shell('hawser send - --name w --to "$1" <&-', server.address);
  t.match(closed, { code: 2, err: /standard input is closed, and nothing is piped in/ });
  const dry = await shell('echo x | hawser send - --name dry --dry-run --to "$1"', server.address);
  t.match(dry, { code: 0, err: "" }, "where nothing is sent nothing is warned of");
  t.match(dry.out, /^sent +unknown .* dry\nwould send {2}1 file, of a size that is not known before it is read\n/);
  // There is no such directory, and it is not looked for.
  const spooled = await shell(
    'echo x | hawser send - --name dry --spool "$2" -n --to "$1"',
    server.address,
    join(dir, "no"),
  );
  t.match(spooled, { code: 0, out: /would send/ }, "a dry run copies nothing");
  const noList = await shell('hawser send --files-from - --to "$1" <&-', server.address);
  t.match(noList, { code: 2, err: /standard input is closed, and no list is piped in/ });
  const directory = await shell('hawser send - --name w --to "$1" < /', server.address);
  t.match(directory, { code: 66, err: /the input is a directory/ });
  t.same(namesIn(join(dir, "in")), before, "nothing of all that was committed");
  await server.stop();
});

t.test("find -print0 | send --files-from -: the tree is what find chose, directories with their times", async (t) => {
  const dir = t.testdir({
    in: {},
    from: { a: { "x.txt": "x", "y.o": "y", empty: {} }, ".git": { config: "c" }, "z.txt": "z" },
  });
  for (const name of ["a/empty", "a"]) utimesSync(join(dir, "from", name), 1_500_000_000, 1_500_000_000);
  const server = await startServe(join(dir, "in"));
  const find = "find . -name .git -prune -o ! -name '*.o' -print0";
  const line = `cd '${join(dir, "from")}' && ${find} | ${HAWSER} send --files-from - --to "$1"`;
  const sent = await shell(line, server.address);
  t.match(sent, { code: 0, err: "" });
  t.match(sent.out, /^committed {3}2 files, /m);
  t.same(namesIn(join(dir, "in")), ["a", "z.txt"]);
  t.same(readdirSync(join(dir, "in", "a")).sort(), ["empty", "x.txt"]);
  for (const name of ["a/empty", "a"]) t.equal(statSync(join(dir, "in", name)).mtimeMs, 1_500_000_000_000, name);
  const again = await shell(line, server.address);
  t.match(again.out, /^unchanged {3}2 files, /m, "and nothing of it is sent twice");
  await server.stop();
});

t.test("a producer that is silent, and a server that takes no more: it ends at once", async (t) => {
  const dir = t.testdir({ in: {} });
  const server = await startServe(join(dir, "in"), ["--max-file-size", "1MiB"]);
  const args = ["send", "-", "--name", "a", "--to", server.address];
  const running = start(args, { stdio: ["pipe", "pipe", "pipe"] });
  // The pipe stays open, and nothing more comes. It may be closed at the other end before all of it is written.
  running.child.stdin?.on("error", () => {});
  running.child.stdin?.write(contentOf(3 * MIB));
  t.match(await running.ended, { code: 73, err: /E_TOO_LARGE/ });
  const line = 'yes | hawser send - --name a --to "$1"; echo $PIPESTATUS';
  t.match(await shell(line, server.address), { out: "141\n" }, "a producer that writes on is told by SIGPIPE");
  await server.stop();
});

t.test("^C to the whole pipeline: nothing is committed, whoever dies first", async (t) => {
  const dir = t.testdir({ in: {} });
  const server = await startServe(join(dir, "in"));
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    // A producer that is silent, and doesn't end by itself.
    const line = `(head -c 3000000 /dev/zero; exec sleep 1000) | ${HAWSER} send - --name a --to ${server.address} --progress json`;
    const child = bash(line);
    let err = "";
    const ended = new Promise((resolve) => child.stderr.on("close", resolve));
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (bytes: Buffer) => {
        err += bytes.toString();
        if (/"phase":"sending","stall":null,"bytesDone":[1-9]/.test(err)) resolve();
      });
      void ended.then(() => reject(new Error(`it ended and had sent nothing: ${err}`)));
    });
    process.kill(-(child.pid ?? 0), signal);
    await ended;
    t.match(err, new RegExp(code === 130 ? "E_INTERRUPTED" : "E_TERMINATED"));
    t.match(await server.event("ended"), { code: code === 130 ? "E_INTERRUPTED" : "E_TERMINATED" });
    t.same(namesIn(join(dir, "in")), []);
  }
  const running = start(["send", "-", "--name", "a", "--to", server.address, "--progress", "json"], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  // It may end before it has read all of this.
  running.child.stdin?.on("error", () => {});
  running.child.stdin?.write(contentOf(3 * MIB));
  await running.said(/"phase":"sending","stall":null,"bytesDone":[1-9]/);
  running.child.kill("SIGINT");
  running.child.stdin?.end();
  t.equal((await running.ended).code, 130);
  t.same(namesIn(join(dir, "in")), []);
  await server.stop();
});

t.test("--spool: interrupted while it is sent, the command that is printed goes on", async (t) => {
  const dir = t.testdir({ in: {}, "the spool": {} });
  const server = await startServe(join(dir, "in"));
  const spool = join(dir, "the spool");
  const content = contentOf(20 * MIB);
  const args = ["send", "-", "--name", "it's", "--spool", spool, "--expect-bytes", "20MiB", "--to", server.address];
  // So slow that it can't be over before it is interrupted; the second run has no limit.
  const slow = { HAWSER_BWLIMIT: "1MiB" };
  const running = start([...args, "-P", "1"], { env: slow, stdio: ["pipe", "pipe", "pipe"] });
  const session = server.event("session");
  running.child.stdin?.end(content);
  await session;
  running.child.kill("SIGINT");
  const { code, err } = await running.ended;
  t.equal(code, 130);
  const [copy = ""] = readdirSync(spool);
  t.equal(statSync(join(spool, copy)).mode & 0o777, 0o600);
  t.match(err, new RegExp(`Standard input was copied to '.*/the spool/${copy}', which stays there`));
  const [, command = ""] = /^ {2}(hawser send .*)$/m.exec(err) ?? [];
  t.match(command, /^hawser send '.*\.spool' --name 'it'\\''s' --to [0-9.:]+ -P 1 && rm '.*\.spool'$/);
  await server.event("ended");
  t.same(namesIn(join(dir, "in")), []);
  const again = await shell(command);
  t.match(again, { code: 0, out: /^(resumed|sent) +20\.0 MiB .* it's$/m });
  t.equal(statSync(join(dir, "in", "it's")).size, content.length);
  t.same(readdirSync(spool), [], "and the copy is removed");
  await server.stop();
});

t.test("--spool: interrupted while it is copied, no room, and a failure", async (t) => {
  const dir = t.testdir({ in: {}, spool: {} });
  const server = await startServe(join(dir, "in"));
  const spool = join(dir, "spool");
  const args = ["send", "-", "--name", "a", "--to", server.address, "--spool"];
  const piped = { stdio: ["pipe", "pipe", "pipe"] } as const;
  const running = start([...args, spool, "--progress", "json"], { stdio: [...piped.stdio] });
  running.child.stdin?.write("some");
  await running.said(/"phase":"spooling","stall":null,"bytesDone":4/);
  t.equal(readdirSync(spool).length, 1);
  running.child.kill("SIGINT");
  const { code, err } = await running.ended;
  t.equal(code, 130);
  t.match(err, /was interrupted while the input was copied: the copy was removed, and nothing was sent/);
  for (const line of err.trimEnd().split("\n")) t.equal(nonconformity("progress-event", JSON.parse(line)), undefined);
  t.same(readdirSync(spool), []);

  const sent = await run([...args, spool, "--json"], { input: "content" });
  t.equal(sent.code, 0);
  t.match(sent.err, "", "there is nothing to warn of");
  t.same(readdirSync(spool), []);
  t.equal(readFileSync(join(dir, "in", "a"), "utf8"), "content");
  const failed = await run([...args, spool, "--json"], { input: "other" });
  t.equal(failed.code, 73);
  const document = JSON.parse(failed.out);
  t.equal(nonconformity("send", document), undefined);
  t.equal(readFileSync(document.spooled, "utf8"), "other", "what can't be sent stays where it can be used");
  t.match(failed.err, /This goes on, and removes it when it is done/);

  // A file system of a MiB, where this user may mount one.
  const small = join(dir, "small");
  mkdirSync(small);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small]).status === 0;
  if (!mounted) t.comment("no tmpfs can be mounted here");
  else {
    try {
      const full = await shell(
        `head -c 5M /dev/zero | hawser send - --name f --to ${server.address} --spool "$1"`,
        small,
      );
      t.match(full, { code: 74, err: /there is no room for '.*\.spool': the copy was removed.*\(E_NO_SPACE\)/ });
      t.same(readdirSync(small), []);
    } finally {
      spawnSync("umount", [small]);
    }
  }
  await server.stop();
});

/** `serve --to-stdout --once` into a program of the shell, on a free port. */
async function startStreaming(consumer: string, ...args: string[]) {
  const child = bash(`${HAWSER} serve --to-stdout --once --bind 127.0.0.1 --port 0 | ${consumer}`, ...args);
  let [out, err] = ["", ""];
  child.stdout.on("data", (bytes: Buffer) => {
    out += bytes.toString();
  });
  const listening = Promise.withResolvers<string>();
  child.stderr.on("data", (bytes: Buffer) => {
    err += bytes.toString();
    const [, address] = /receiving into standard output on (\S+)\n/.exec(err) ?? [];
    if (address !== undefined) listening.resolve(address);
  });
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, out, err })),
  );
  void ended.then(() => listening.reject(new Error(`it ended and had not listened: ${err}`)));
  return { ended, address: await listening.promise };
}

t.test("serve --to-stdout --once | tar x", async (t) => {
  const dir = t.testdir({ from: { sub: {} }, to: {} });
  makeFile(join(dir, "from", "big"), 20 * MIB);
  makeFile(join(dir, "from", "sub", "small"), 5, 2);
  const server = await startStreaming('tar x -C "$1"', join(dir, "to"));
  const sent = await shell(
    'tar c -C "$1" . | hawser send - --name x.tar --to "$2" -q',
    join(dir, "from"),
    server.address,
  );
  t.match(sent, { code: 0, err: "" });
  t.match(await server.ended, { code: 0, out: "" });
  t.equal(spawnSync("diff", ["-r", join(dir, "from"), join(dir, "to")]).status, 0);
  t.same(readdirSync(WORK_DIRECTORY), [], "nothing is written to a directory");
});

t.test("a slow consumer, and one that goes", async (t) => {
  const dir = t.testdir({});
  const path = makeFile(join(dir, "f"), 30 * MIB);
  // It takes nothing for three timeouts, in which the other one is tried.
  const slow = await startStreaming("(sleep 6; cksum)");
  const sending = run(["send", path, "--to", slow.address, "--timeout", "2s", "--json"]);

  const gone = await startStreaming("head -c 1000000 | wc -c");
  const cut = await run(["send", path, "--to", gone.address]);
  t.match(cut, { code: 74, out: "", err: /has closed its input before the file was whole \(E_DESTINATION\)/ });
  t.notMatch(cut.err, /The same command/, "it can't go on");
  const ended = await gone.ended;
  t.match(ended, { code: 74, out: "1000000\n", err: /what came out on standard output is not whole$/m });
  t.notMatch(ended.err, /^ +at /m);

  const sent = await sending;
  t.match(sent, { code: 0 });
  t.equal(JSON.parse(sent.out).retries, 0);
  const { code, out } = await slow.ended;
  t.same([code, out], [0, spawnSync("bash", ["-c", 'cksum < "$1"', "bash", path]).stdout.toString()]);
});

t.test("a transfer that fails after some came out: pipefail sees it", async (t) => {
  const server = await startStreaming("wc -c");
  const running = start(
    ["send", "-", "--name", "a", "--chunk-size", "512KiB", "--to", server.address, "--progress", "json"],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  running.child.stdin?.write(contentOf(3 * MIB));
  await running.said(/"phase":"sending","stall":null,"bytesDone":3145728/);
  running.child.kill("SIGTERM");
  t.equal((await running.ended).code, 143);
  t.match(await server.ended, {
    code: 75,
    out: `${3 * MIB}\n`,
    err: /what came out on standard output is not whole$/m,
  });

  const wrong = await startStreaming("wc -c");
  // More than is read ahead: some has come out by the end.
  const input = "x".repeat(32 * MIB);
  const sent = await run(["send", "-", "--name", "a", "--to", wrong.address, "--expect-crc32", "12345678"], { input });
  t.equal(sent.code, 65);
  t.match(await wrong.ended, { code: 65, err: /not whole$/m });

  const idle = start(["serve", "--to-stdout", "--once", "--port", "0"]);
  await idle.said(/receiving into standard output/);
  idle.child.kill("SIGTERM");
  t.match(await idle.ended, { code: 143, out: "" }, "nothing came, and that is no success");
});

t.test("a second file is refused, and nothing is said against the first", async (t) => {
  const server = await startStreaming("wc -c");
  const dir = t.testdir({});
  const paths = ["a", "b"].map((name) => makeFile(join(dir, name), MIB));
  t.match(await run(["send", ...paths, "--to", server.address]), { code: 23, err: /E_ONE_FILE/ });
  const { code, out, err } = await server.ended;
  t.same([code, out], [23, `${MIB}\n`]);
  t.notMatch(err, /not whole/);
});

t.test("into a file of the shell's", async (t) => {
  const dir = t.testdir({});
  const path = makeFile(join(dir, "f"), 3 * MIB + 1);
  writeFileSync(join(dir, "out"), "");
  const server = await startStreaming(`cat > "$1"; true`, join(dir, "out"));
  t.equal((await run(["send", path, "--to", server.address])).code, 0);
  await server.ended;
  t.ok(readFileSync(join(dir, "out")).equals(readFileSync(path)));
});
