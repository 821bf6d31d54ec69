/** The program as a user's shell meets it, without a server: versions, help, mistakes, settings. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { delimiter, dirname, join, relative } from "node:path";
import { Script } from "node:vm";
import { crc32 } from "node:zlib";
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

t.test("with --json every command that prints one has a document for its failure", async (t) => {
  const cases = [
    [["history", "/nonexistent"], 78, "E_CONFIG"],
    [["history", "/dev/null"], 78, "E_CONFIG"],
    [["sessions", "/dev/null"], 78, "E_CONFIG"],
    [["history", "--limit", "0"], 2, "E_USAGE"],
    [["sessions", "/nonexistent"], 78, "E_CONFIG"],
    [["sessions", "--drop", "abc"], 2, "E_USAGE"],
    [["ticket", "list", "--nope"], 2, "E_USAGE"],
    [["bench", "--seconds", "0"], 2, "E_USAGE"],
    [["demo", "--size", "x"], 2, "E_USAGE"],
    [["send", "--json=false", "file"], 2, "E_USAGE"],
  ] as const;
  for (const [args, code, error] of cases) {
    const ended = await run([...args, "--json"]);
    t.equal(ended.code, code, args.join(" "));
    const document = JSON.parse(ended.out);
    t.match(document, { ok: false, error: { code: error, message: String, hint: String, retryable: Boolean } });
    t.match(ended.err, document.error.message);
  }
  // What it prints is events, and the first of them says where it listens.
  t.equal((await run(["serve", "--bogus", "--json"])).out, "");
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

const OF_THIS_NODE = `${process.version}-${process.arch}`;

/** As most umasks would make them: the runner's may let a group write. */
function own(dir: string): string {
  for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true })) {
    if (entry.isDirectory()) chmodSync(join(entry.parentPath, entry.name), 0o700);
  }
  chmodSync(dir, 0o700);
  return dir;
}

function keptBelow(cache: string): string[] {
  return readdirSync(cache, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

t.test("a cache directory that can't be made, and none at all, hold nothing up", async (t) => {
  const none = "/proc/none";
  const dir = t.testdir({
    relative: {},
    file: { hawser: "" },
    last: { hawser: { code: "" } },
    node: { hawser: { code: { [OF_THIS_NODE]: "" } } },
  });
  own(dir);
  const environments = {
    "a home and a cache that can't be made": [`HOME=${none}/home`, `XDG_CACHE_HOME=${none}/cache`],
    "a home that can't be made": [`HOME=${none}/home`],
    "a cache that can't be made": ["HOME=/", `XDG_CACHE_HOME=${none}/cache`],
    "no directory as home": ["HOME=/dev/null"],
    "no directory as cache": ["HOME=/dev/null", "XDG_CACHE_HOME=/dev/null"],
    "a file where a directory would be": ["HOME=/", `XDG_CACHE_HOME=${join(dir, "file")}`],
    "a file where the last directory would be": ["HOME=/", `XDG_CACHE_HOME=${join(dir, "last")}`],
    "a file where this Node's would be": ["HOME=/", `XDG_CACHE_HOME=${join(dir, "node")}`],
    "relative ones": ["HOME=relative", "XDG_CACHE_HOME=relative"],
    neither: [],
    "both empty": ["HOME=", "XDG_CACHE_HOME="],
  };
  for (const [what, variables] of Object.entries(environments)) {
    const args = ["-i", ...variables, process.execPath, BIN, "--version"];
    const { status, stdout, stderr } = spawnSync("env", args, { encoding: "utf8", timeout: 30_000, cwd: dir });
    t.match({ status, stdout }, { status: 0, stdout: /^hawser\/\d/ }, what);
    t.equal(stderr, "", what);
  }
  t.same(readdirSync(join(dir, "relative")), [], "nothing is kept below the directory that it runs in");
});

t.test("what a run compiled is kept for the next of the same command, where it ended well", async (t) => {
  const cache = own(t.testdir());
  const env = { XDG_CACHE_HOME: cache };
  const kept = () => keptBelow(cache);
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

/** An entry for the program's first piece that V8 takes, and that says so when it is run. */
function planted(): Buffer {
  const filename = join(dirname(dirname(BIN)), "dist", "program", "commands", "main.cjs");
  const code = readFileSync(filename, "latin1");
  const stamp = code.slice(0, 66);
  const evil = `${stamp}\nconsole.log("planted"); process.exit(0);`.padEnd(code.length);
  const script = new Script(`(function (exports,require,module) {${evil}\n})`, { filename });
  script.runInThisContext();
  const data = script.createCachedData();
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(data));
  return Buffer.concat([Buffer.from(stamp, "latin1"), sum, data]);
}

t.test("compiled code that somebody else can have put there is not run", async (t) => {
  const dir = own(t.testdir({ cache: {}, link: { hawser: {} }, nobody: {} }));
  const cache = join(dir, "cache");
  const env = { XDG_CACHE_HOME: cache };
  await run(["--version"], { env });
  const main = keptBelow(cache).find((path) => path.endsWith("main.cjs.code")) as string;
  const code = join(cache, "hawser", "code");
  const plant = () => writeFileSync(main, planted());
  plant();
  t.match(await run(["--version"], { env }), { out: "planted\n" }, "it is what would be run");

  const disown = (path: string) => (root ? chownSync(path, 65534, 65534) : chmodSync(path, 0o777));
  for (const path of [cache, join(cache, "hawser"), code, main]) {
    for (const spoil of [disown, (path: string) => chmodSync(path, 0o777), (path: string) => chmodSync(path, 0o720)]) {
      plant();
      const { mode, uid, gid } = statSync(path);
      spoil(path);
      const { code, out, err } = await run(["--version"], { env });
      t.match({ code, out }, { code: 0, out: /^hawser\/\d/ }, relative(cache, path));
      t.equal(err, "");
      if (root) chownSync(path, uid, gid);
      chmodSync(path, mode);
    }
  }

  plant();
  symlinkSync(code, join(dir, "link", "hawser", "code"));
  const linked = await run(["--version"], { env: { XDG_CACHE_HOME: join(dir, "link") } });
  t.match(linked, { code: 0, out: /^hawser\/\d/, err: "" });
  disown(join(dir, "nobody"));
  t.equal((await run(["--version"], { env: { HOME: join(dir, "nobody") } })).code, 0);
  t.same(readdirSync(join(dir, "nobody")), [], "nothing is made in somebody else's home");
});

t.test("damaged compiled code is not run, and is made again", async (t) => {
  const cache = own(t.testdir());
  const env = { XDG_CACHE_HOME: cache };
  const args = ["send", "--help"];
  const whole = await run(args, { env });
  const kept = new Map(keptBelow(cache).map((path) => [path, readFileSync(path)]));
  const paths = [...kept.keys()].sort();
  let seed = 7;
  const below = (bound: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >>> 8) % bound;
  };
  for (let round = 0; round < 20; round++) {
    for (const [path, bytes] of kept) writeFileSync(path, bytes, { mode: 0o600 });
    const path = paths[below(paths.length)] as string;
    const flipped = Buffer.from(kept.get(path) as Buffer);
    for (let flips = round % 2 ? 1 : 8; flips > 0; flips--) {
      const at = below(flipped.length);
      flipped[at] = (flipped[at] as number) ^ (1 << below(8));
    }
    writeFileSync(path, flipped);
    const { ino } = statSync(path);
    t.same(await run(args, { env }), whole, `round ${round}: ${relative(cache, path)}`);
    t.not(statSync(path).ino, ino, "is written again");
  }
});

t.test("what other versions of Node compiled goes when the first of this one is kept", async (t) => {
  const dir = own(
    t.testdir({ cache: { hawser: { code: { "v1.2.3-x64": { none: { "x.code": "x" } } } } }, away: { x: "" } }),
  );
  const env = { XDG_CACHE_HOME: join(dir, "cache") };
  const code = join(dir, "cache", "hawser", "code");
  const sameVersion = `${process.version}-other`;
  for (const name of [sameVersion, "else"]) mkdirSync(join(code, name));
  symlinkSync(join(dir, "away"), join(code, "v1.0.0-x64"));
  t.equal((await run(["sned"], { env })).code, 2);
  t.ok(existsSync(join(code, "v1.2.3-x64")), "while there is nothing else");
  t.equal((await run(["--version"], { env })).code, 0);
  t.same(readdirSync(code).sort(), ["else", "v1.0.0-x64", OF_THIS_NODE, sameVersion].sort());
  t.same(readdirSync(join(dir, "away")), ["x"]);
  cpSync(join(code, OF_THIS_NODE), join(code, "v1.2.3-x64"), { recursive: true });
  rmSync(join(code, OF_THIS_NODE, "none"), { recursive: true });
  t.equal((await run(["--version"], { env })).code, 0);
  t.ok(existsSync(join(code, "v1.2.3-x64")), "once, and not whenever something is kept");
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
