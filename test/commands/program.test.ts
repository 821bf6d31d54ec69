/** The program as a user's shell meets it, without a server: versions, help, mistakes, settings. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import t from "tap";
import { COMMANDS } from "../../src/commands/index.ts";
import { nonconformity } from "../cli/schema.ts";
import { BIN, run } from "./program.ts";

t.test("the version, on one line", async (t) => {
  for (const flag of ["--version", "-V"]) {
    const { code, out, err } = await run([flag]);
    t.match(out, /^hawser\/\d+\.\d+\.\d+ \S+ node-v\d+\.\d+\.\d+\n$/);
    t.same([code, err], [0, ""]);
  }
});

t.test("help: for the program and for each command", async (t) => {
  for (const args of [["-h"], []]) {
    const { code, out, err } = await run(args);
    t.same([code, err], [0, ""], args.join(" "));
    for (const name of Object.keys(COMMANDS)) t.match(out, new RegExp(`^  ${name} `, "m"));
  }
  for (const name of Object.keys(COMMANDS)) {
    const { code, out, err } = await run([name, "--help"]);
    t.same([code, err], [0, ""], name);
    t.match(out, `$ hawser ${name}`);
    t.match(out, "EXAMPLES");
  }
  const { out } = await run(["help", "send"]);
  t.equal(out, (await run(["send", "--help"])).out);
  t.match(out, /^ {6}--to=HOST/m, "the first flag stands where the others do");
});

t.test(
  "mistakes: exit code 2, a sentence and the next step on standard error, no trace, nothing on standard output",
  async (t) => {
    const cases: [string[], RegExp][] = [
      [["snd"], /there is no command 'snd' \(E_USAGE\)\n {2}Did you mean send\?/],
      [["--json"], /no flag --json before the command/],
      [["send"], /send needs PATH, which is missing/],
      [["send", "x"], /send needs a server.*\n.*--to HOST\[:PORT\], HAWSER_TO/],
      [["send", "x", "--to"], /--to expects a value/],
      [["send", "x", "--stream", "4"], /send has no flag --stream \(E_USAGE\)\n {2}Did you mean --streams\?/],
      [["send", "x", "--to", "::1"], /--to '::1' can't be used.*\n.*\[fe80::1\]:23300/],
      [["send", "x", "--to", "nas", "--streams", "65"], /--streams '65'.*\n.*from 1 to 64/],
      [["send", "x", "--to", "nas", "-P", "0"], /--streams '0'/],
      [["send", "x", "--to", "nas", "--parallel", "0"], /--streams '0'/],
      [["send", "x", "--to", "nas", "--chunk-size", "1MB"], /it is 977 KiB \(1,000,000 bytes\)/],
      [["send", "x", "--to", "nas", "--progress", "fancy"], /one of auto, bar, plain, json, none/],
      [["send", "-", "--to", "nas"], /standard input \(-\) needs a name/],
      [["send", "-", "x", "--to", "nas"], /standard input \(-\) is sent alone, and files are given too/],
      [["send", "x", "--expect-bytes", "1", "--to", "nas"], /--expect-bytes is about standard input/],
      [["send", "x", "--spool", "/tmp", "--to", "nas"], /--spool is about standard input/],
      [["send", "-", "--name", "x", "--expect-crc32", "12", "--to", "nas"], /eight hexadecimal digits/],
      [["serve", "--to-stdout"], /needs --once/],
      [["serve", "--to-stdout", "--once", "--json"], /both want standard output/],
      [["serve", "here", "--to-stdout", "--once"], /'here' is given/],
      [["serve", "--to-stdout", "--once", "--durability", "strict"], /--durability means nothing with --to-stdout/],
      [["send", "x", "y", "--to", "nas", "--name", "z"], /--name renames one file or directory, and 2 are given/],
      [["send", "x", "--to", "nas", "--retries", "-1"], /--retries '-1'/],
      [["send", "x", "--to", "nas", "--retries", "often"], /--retries 'often'.*\n.*a whole number from 0/],
      [["serve", "--durability", "forever"], /--durability 'forever'.*\n.*one of none, commit, checkpoint, strict/],
      [["serve", "--session-ttl", "week"], /--session-ttl 'week'/],
      [["serve", "a", "b"], /serve does not expect 'b'/],
      [["serve", "--insecure", "--cert", "x.pem"], /--insecure is plain TCP, where no certificate is shown/],
      [["serve", "--insecure", "--tls-streams"], /--insecure is plain TCP, and --tls-streams wants TLS/],
      [["send", "x", "--to", "127.0.0.1", "--insecure", "--tls-streams"], /--tls-streams wants TLS/],
      [["serve", "--key", "x.pem"], /--key needs --cert/],
      [["send", "x", "--to", "nas", "--client-key", "x.pem"], /--client-key needs --client-cert/],
      [["ticket", "revoke"], /`ticket revoke` means nothing/],
      [["ticket", "--json"], /--json is for `ticket list`/],
      [["ticket", "--name", "10.0.0.1"], /can't be a ticket's name/],
      [["pair", "no host"], /'no host' is no server/],
      [["pair", `hawser1.${"A".repeat(40)}`], /a ticket is a secret/],
      [["send", "x", "--to", "nas", `--ticket-file=hawser1.${"A".repeat(40)}`], /a ticket is a secret/],
      [["serve", "--port", "65536"], /--port '65536'/],
      [["history", "--limit", "0"], /--limit '0'/],
      [["shell", "x"], /shell does not expect 'x'/],
    ];
    for (const [args, message] of cases) {
      const { code, out, err } = await run(args);
      t.same([code, out], [2, ""], args.join(" "));
      t.match(err, message);
      t.notMatch(err, /^ +at /m);
    }
  },
);

t.test("with --json a mistake is a document too", async (t) => {
  for (const args of [["x"], ["--bogus"], ["x", "--to", "::1"], ["-", "--to", "nas"], []]) {
    const { code, out, err } = await run(["send", "--json", ...args]);
    t.equal(code, 2);
    const document = JSON.parse(out);
    t.equal(nonconformity("send", document), undefined);
    t.same([document.ok, document.files, document.error.code], [false, [], "E_USAGE"]);
    t.match(err, document.error.message);
  }
  t.equal((await run(["send", "--bogus", "--", "--json"])).out, "", "after -- it is a path");
});

t.test("the environment and the configuration file: exit code 78, and where", async (t) => {
  const home = t.testdir({});
  mkdirSync(join(home, "hawser"));
  const write = (text: string) => writeFileSync(join(home, "hawser", "config.toml"), text);
  const send = (env: Record<string, string> = {}) =>
    run(["send", "x", "-v"], { env: { XDG_CONFIG_HOME: home, ...env } });

  write('[send]\nstreams = 99\nto = "nas"\n');
  const bad = await send();
  t.equal(bad.code, 78);
  t.match(bad.err, /hawser\/config\.toml: \[send\] streams '99' can't be used \(E_CONFIG\)\n.*from 1 to 64/);

  write("[send]\nstreems = 9\n");
  t.match(await send(), { code: 78, err: /config\.toml: \[send\] has no setting 'streems'/ });
  write("[send\n");
  t.match(await send(), { code: 78, err: /config\.toml:1:\d+ is not TOML/ });

  write('[send]\nto = "127.0.0.1:1"\nchunk-size = "4M"\n');
  t.match(await send({ HAWSER_STREAMS: "x" }), { code: 78, err: /HAWSER_STREAMS 'x' can't be used/ });
  const good = await send({ HAWSER_TIMEOUT: "5" });
  t.equal(good.code, 66, "the file to send is missing, and that comes last");
  t.match(good.err, /hawser: to is 127\.0\.0\.1:1, from .*config\.toml: \[send\] to\n/);
  t.match(good.err, /hawser: chunk-size is 4\.00 MiB \(4,194,304 bytes\), from .*: \[send\] chunk-size\n/);
  t.match(good.err, /hawser: timeout is 5\.00 s, from HAWSER_TIMEOUT\n/);

  const unreadable = await run(["serve"], { env: { HAWSER_CERT: "/none.pem" } });
  t.match(unreadable, { code: 78, err: /'\/none\.pem' does not exist/ });
});

t.test("a bug says so, with its trace, and exits 1", async (t) => {
  const breaking = `data:text/javascript,${encodeURIComponent("setImmediate(() => { throw new TypeError('boom'); })")}`;
  // The fault is thrown while a command waits for its standard input.
  const { code, err } = await run(["shell"], {
    env: { NODE_OPTIONS: `--import=${breaking}` },
    stdio: ["pipe", "pipe", "pipe"],
  });
  t.equal(code, 1);
  t.match(err, /TypeError: boom\n +at /);
});

t.test(
  "standard output on a full disk is an error, not a success",
  { skip: existsSync("/dev/full") ? false : "there is no /dev/full" },
  async (t) => {
    const { status, stderr } = spawnSync("sh", ["-c", '"$0" "$1" send --help > /dev/full', process.execPath, BIN], {
      encoding: "utf8",
    });
    t.equal(status, 74);
    t.match(stderr, /standard output can't be written/);
  },
);

const root = process.getuid?.() === 0;
t.test("a user id without a name or a home", { skip: root ? false : "only root can be somebody else" }, async (t) => {
  const script = "process.setgid(54321); process.setuid(54321);";
  const become = `--import=data:text/javascript,${encodeURIComponent(script)}`;
  // Without any of the runner's own variables, too: what they make a child write down, this user may not write.
  const args = ["-i", process.execPath, become, BIN, "send", "/none", "--to", "127.0.0.1:1"];
  const { status, stderr } = spawnSync("env", args, { encoding: "utf8", cwd: "/" });
  t.match({ status, stderr }, { status: 66, stderr: /E_SOURCE_MISSING/ });
});

t.test("a cache directory that can't be made, and none at all, hold nothing up", async (t) => {
  const none = "/proc/none";
  const environments = {
    "a home and a cache that can't be made": [`HOME=${none}/home`, `XDG_CACHE_HOME=${none}/cache`],
    "a home that can't be made": [`HOME=${none}/home`],
    "a cache that can't be made": ["HOME=/", `XDG_CACHE_HOME=${none}/cache`],
    neither: [],
    "both empty": ["HOME=", "XDG_CACHE_HOME="],
  };
  for (const [what, variables] of Object.entries(environments)) {
    const args = ["-i", ...variables, process.execPath, BIN, "--version"];
    const { status, stdout, stderr } = spawnSync("env", args, { encoding: "utf8", timeout: 30_000, cwd: "/" });
    t.match({ status, stdout, stderr }, { status: 0, stdout: /^hawser\/\d/, stderr: "" }, what);
  }
});

t.test("what a run compiled is kept for the next of the same command, where it ended well", async (t) => {
  const cache = t.testdir();
  const env = { XDG_CACHE_HOME: cache };
  const kept = () =>
    readdirSync(cache, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  t.equal((await run(["sned"], { env })).code, 2);
  t.same(kept(), [], "a run that failed used little of the program");

  t.equal((await run(["--version"], { env })).code, 0);
  t.equal((await run(["send", "--help"], { env })).code, 0);
  const files = kept();
  t.ok(files.length > 4 && files.every((path) => path.endsWith(".code")), "the whole pieces, and nothing else");
  t.ok(files.some((path) => path.includes("/none/")) && files.some((path) => path.includes("/send/")));
  t.ok(
    files.every((path) => (statSync(path).mode & 0o077) === 0),
    "of the user's own",
  );
  const inodes = () => files.map((path) => statSync(path).ino);
  const before = inodes();
  t.equal((await run(["send", "--help"], { env })).code, 0);
  t.same(inodes(), before, "is read, and not written again");

  for (const spoil of [(code: Buffer) => code.subarray(0, 200), (code: Buffer) => code.fill("/", 0, 66)]) {
    for (const path of files) writeFileSync(path, spoil(readFileSync(path)));
    const [version, help] = [await run(["--version"], { env }), await run(["send", "--help"], { env })];
    t.match(
      [version, help],
      [
        { code: 0, out: /^hawser\/\d/ },
        { code: 0, out: /\$ hawser send PATH/ },
      ],
    );
    t.ok(
      files.every((path) => statSync(path).size > 600),
      "what is cut short, or of another program, is made again",
    );
  }
});

/** A Node on this machine that is too old, if there is one. */
function olderNode(): string | undefined {
  const candidates = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/bin", "/usr/bin"];
  return candidates
    .map((dir) => join(dir, "node"))
    .find((path) => {
      const { stdout, status } = spawnSync(path, ["--version"], { encoding: "utf8" });
      return status === 0 && Number(/^v(\d+)/.exec(stdout)?.[1]) < 24;
    });
}

const older = olderNode();
t.test(
  "an older Node gets one line",
  { skip: older === undefined ? "no older Node is installed here" : false },
  async (t) => {
    const { code, out, err } = await run(["demo"], { node: older as string });
    t.same([code, out], [78, ""]);
    t.match(err, /^hawser \(.*\) needs Node 24\.20 or later, and this is Node \d+\.\d+\.\d+ \(.*\): .*\n$/);
    t.equal(err.split("\n").length, 2);
  },
);
