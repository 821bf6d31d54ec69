/** Keys, tickets and pairing through the real program: two users of one machine stand for two machines. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { nonconformity } from "../cli/schema.ts";
import { testAuthority } from "../helpers/keys.ts";
import { inTerminal, noTerminal } from "../helpers/terminal.ts";
import { BIN, run, type Served, startServe } from "./program.ts";

interface Two {
  readonly dir: string;
  readonly server: Served;
  /** With its environment, a program runs as the server's user, or as somebody else. */
  readonly there: { readonly env: Record<string, string> };
  readonly here: { readonly env: Record<string, string>; readonly cwd: string };
}

async function two(t: Test, args: readonly string[] = []): Promise<Two> {
  const dir = t.testdir({ in: {}, "a.txt": "content", there: {}, here: {} });
  const there = { env: { XDG_STATE_HOME: join(dir, "there") } };
  const here = { env: { XDG_STATE_HOME: join(dir, "here") }, cwd: dir };
  const server = await startServe(join(dir, "in"), args, there);
  return { dir, server, there, here };
}

const CLOCK = new URL("../helpers/jumping-clock.ts", import.meta.url).href;

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

t.test("a ticket, pairing, sending, revoking", async (t) => {
  const { dir, server, there, here } = await two(t);
  const port = server.address.split(":")[1];
  const send = () => run(["send", "a.txt", "--to", server.address], here);

  const stranger = await send();
  t.equal(stranger.code, 77);
  t.match(
    stranger.err,
    /not paired with 127\.0\.0\.1:\d+, whose key is sha256:.*nothing was sent \(E_NOT_PAIRED\)\n.*hawser ticket.*hawser pair/,
  );

  const made = await run(["ticket", "--name", "laptop", "--host", server.address, "--qr"], there);
  t.equal(made.code, 0);
  t.match(made.out, /^hawser1\.[A-Za-z0-9_-]+\n$/, "standard output is the ticket and nothing else");
  t.match(made.err, /█▀▀▀▀▀▀▀█/, "the QR code");
  t.match(made.err, /a ticket for 'laptop'/);
  const paired = await run(["pair"], { ...here, input: made.out });
  t.match(paired, { code: 0, out: "" });
  t.match(paired.err, new RegExp(`paired with 127\\.0\\.0\\.1:${port}`));
  const secret = made.out.trim().slice(10, -6);
  t.notMatch(made.err + paired.err, secret, "it is shown nowhere else");
  const kept = join(dir, "here", "hawser", "servers");
  t.same(readdirSync(kept), [`127.0.0.1%3A${port}.ticket`]);
  t.same([modeOf(join(dir, "here", "hawser")), modeOf(kept)], ["700", "700"]);
  t.equal(modeOf(join(kept, `127.0.0.1%3A${port}.ticket`)), "600");

  t.match(await send(), { code: 0, out: /committed {3}1 file/ });
  t.match(await server.event("transfer"), { peer: "laptop" });
  const again = await run(["ticket", "--name", "laptop"], there);
  t.match(again, { code: 2, out: "", err: /there is a ticket for 'laptop' already/ });
  const { tickets } = JSON.parse((await run(["ticket", "list", "--json"], there)).out);
  t.match(tickets, [{ name: "laptop", state: "good", expiresMs: null, revokedMs: null }]);
  t.equal(tickets.length, 1, "this machine's own is not listed");
  t.equal(nonconformity("tickets", { tickets }), undefined);

  t.match(await run(["ticket", "revoke", "laptop"], there), { code: 0, err: /'laptop' is revoked/ });
  t.match(await send(), { code: 77, err: /E_REVOKED/ });
  t.match(await run(["ticket", "list"], there), { out: /^NAME .*\nlaptop +\S+ \S+ +revoked / });
  t.match(await run(["ticket", "revoke", "laptop"], there), { code: 2, err: /no ticket for 'laptop'/ });
  const log = await server.stop();
  t.notMatch(log.err + log.out, secret, "nor in the log");
  t.match(log.err, /refused: the ticket of 'laptop' was revoked/);
});

t.test("the same user on this machine needs no pairing, and what is secret is so", async (t) => {
  const { dir, server, there } = await two(t);
  t.match(await run(["send", "a.txt", "--to", server.address], { ...there, cwd: dir }), { code: 0 });
  t.match(await server.event("transfer"), { peer: "local" });
  const state = join(dir, "there", "hawser");
  t.equal(modeOf(state), "700");
  for (const name of ["server.pem", "local.ticket", "tickets.db"]) t.equal(modeOf(join(state, name)), "600", name);
  const token = Buffer.from(readFileSync(join(state, "local.ticket"), "utf8").trim().slice(8), "base64url").subarray(
    41,
    73,
  );
  t.equal(readFileSync(join(state, "tickets.db")).indexOf(token), -1, "the database has no token");
  const key = readFileSync(join(state, "server.pem"), "utf8");
  await server.stop();
  const again = await startServe(join(dir, "in"), [], there);
  t.equal(readFileSync(join(state, "server.pem"), "utf8"), key, "the key is kept");
  t.match((await again.stop()).err, /the key is sha256:/);
});

t.test("servers that start at once for the first time have one key", async (t) => {
  const dir = t.testdir({ a: {}, b: {}, c: {}, state: {}, "f.txt": "x" });
  const env = { XDG_STATE_HOME: join(dir, "state") };
  const servers = await Promise.all(["a", "b", "c"].map((name) => startServe(join(dir, name), [], { env })));
  for (const { address } of servers) {
    t.match(await run(["send", join(dir, "f.txt"), "--to", address], { env }), { code: 0 });
  }
  const pins = await Promise.all(servers.map(async (server) => /sha256:\S+/.exec((await server.stop()).err)?.[0]));
  t.equal(new Set(pins).size, 1);
  t.same(
    readdirSync(join(dir, "state", "hawser")).sort(),
    ["local.ticket", "server.pem", "tickets.db"],
    "and nothing is left over",
  );
});

t.test("for scripts: HAWSER_TICKET and --ticket-file", async (t) => {
  const { dir, server, there, here } = await two(t);
  const ticket = (await run(["ticket", "--expires", "1d"], there)).out;
  writeFileSync(join(dir, "secret"), ticket);
  const args = ["send", "a.txt", "--to", server.address];
  t.match(await run([...args, "--ticket-file", "secret"], here), { code: 0 });
  t.match(await server.event("transfer"), { peer: "client-1" }, "a ticket without a name has one");
  t.match(await run(args, { ...here, env: { ...here.env, HAWSER_TICKET: ticket } }), { code: 0 });
  t.match(await run(args, { ...here, env: { ...here.env, HAWSER_TICKET_FILE: join(dir, "secret") } }), { code: 0 });
  const damaged = { ...here.env, HAWSER_TICKET: ticket.slice(0, 60) };
  t.match(
    await run([...args, "--ticket-file", "secret"], { ...here, env: damaged }),
    { code: 0 },
    "a flag comes first",
  );
  const half = await run([...args, "-v"], { ...here, env: damaged });
  t.match(half, { code: 77, err: /this is no ticket: it is too short/ });
  t.notMatch(half.err, ticket.slice(10, 50));
  const named = await run([...args, "--ticket-file", "none"], here);
  t.match(named, { code: 78, err: /'none' does not exist/ });
  await server.stop();
});

t.test("a list makes no key, and flags of a new ticket mean nothing to it", async (t) => {
  const state = t.testdir({});
  const env = { XDG_STATE_HOME: state };
  t.match(await run(["ticket", "list"], { env }), { code: 0, out: "", err: /no ticket was given out yet/ });
  t.same(readdirSync(join(state, "hawser")), ["tickets.db"]);
  for (const args of [
    ["list", "--name", "x"],
    ["revoke", "x", "--qr"],
    ["list", "--expires", "1d"],
  ]) {
    t.match(await run(["ticket", ...args], { env }), { code: 2, err: /--\w+ is for a new ticket/ }, args.join(" "));
  }
});

t.test("a ticket is never an argument, and is not repeated", async (t) => {
  const ticket = `hawser1.${"Ab3_".repeat(30)}`;
  for (const args of [
    ["pair", ticket],
    ["send", "x", "--to", ticket],
    ["bogus", ticket],
    ["send", `--ticket-file=${ticket}`],
  ]) {
    const { code, out, err } = await run(args);
    t.equal(code, 2, String(args[0]));
    t.match(err, /a ticket is a secret.*\n.*--ticket-file or HAWSER_TICKET/);
    t.notMatch(out + err, "Ab3_Ab3_");
  }
  const sly = await run(["send", "/none", "--to", "127.0.0.1:1", "--json"], { env: { HAWSER_TICKET_FILE: ticket } });
  t.equal(sly.code, 78);
  t.notMatch(sly.out + sly.err, "Ab3_Ab3_", "nor where it stands in the wrong place");
});

t.test("pair at a terminal shows nothing of what is typed", { skip: noTerminal() ?? false }, async (t) => {
  const { server, there, here } = await two(t);
  const ticket = (await run(["ticket", "--host", server.address], there)).out.trim();
  const terminal = inTerminal(t, [process.execPath, BIN, "pair", "nas"], here.env);
  await terminal.shown(/The ticket \(it is not shown\): /);
  terminal.type(`${ticket}\r`);
  const { code, text, before, after } = await terminal.ended;
  t.equal(code, 0, text);
  t.notMatch(text, ticket.slice(10, 40));
  t.match(text, /paired with nas:23300/);
  t.same(after, before, "the terminal is as it was");
  const interrupted = inTerminal(t, [process.execPath, BIN, "pair"], here.env);
  await interrupted.shown(/The ticket/);
  interrupted.type("\u0003");
  t.equal((await interrupted.ended).code, 130);
  await server.stop();
});

t.test("a key that changed, and a server that is plain, or wants not to be", async (t) => {
  const { dir, server, there, here } = await two(t);
  const ticket = (await run(["ticket"], there)).out;
  await server.stop();
  const old = { ...here, env: { ...here.env, HAWSER_TICKET: ticket } };
  mkdirSync(join(dir, "new"));
  const anew = await startServe(join(dir, "in"), [], { env: { XDG_STATE_HOME: join(dir, "new") } });
  const changed = await run(["send", "a.txt", "--to", anew.address], old);
  t.match(changed, { code: 77, err: /expected sha256:\S+, got sha256:\S+; nothing was sent \(E_KEY_CHANGED\)/ });
  const asPlain = await run(["send", "a.txt", "--to", anew.address, "--insecure"], here);
  t.match(asPlain, { code: 77, err: /E_NEEDS_TLS.*\n.*--insecure/ });
  await anew.stop();
  const plain = await startServe(join(dir, "in"), ["--insecure"], there);
  t.match(await run(["send", "a.txt", "--to", plain.address], old), { code: 77, err: /E_SERVER_PLAIN/ });
  t.match(await run(["send", "a.txt", "--to", plain.address, "--insecure"], here), { code: 0 });
  t.match(await plain.event("transfer"), { peer: "127.0.0.1" });
  await plain.stop();
});

t.test("an expired ticket", async (t) => {
  const { server, there, here } = await two(t);
  // Made by a clock that is two days slow.
  const past = { NODE_OPTIONS: `--import=${CLOCK}`, CLOCK_OFFSET_MS: String(-2 * 24 * 3600 * 1000) };
  const ticket = (await run(["ticket", "--expires", "1d"], { env: { ...there.env, ...past } })).out;
  const env = { ...here.env, HAWSER_TICKET: ticket };
  t.match(await run(["send", "a.txt", "--to", server.address], { ...here, env }), {
    code: 77,
    err: /expired at .*E_EXPIRED/,
  });
  t.match(await run(["ticket", "list"], there), { out: /client-1 .* expired / });
  await server.stop();
});

t.test("it listens for everybody with TLS, and for this machine only without", async (t) => {
  const { server } = await two(t);
  t.match(String(server.events[0]?.["host"]), /^(::|0\.0\.0\.0)$/);
  const { err } = await server.stop();
  t.match(
    err,
    /of all addresses\n.*encrypted, for who has a ticket.*\n.*hawser ticket --name NAME --host HOST:\d+ here, then hawser pair there/,
  );
  const plain = await startServe(t.testdir({}), ["--insecure"]);
  t.equal(plain.events[0]?.["host"], "127.0.0.1");
  t.match((await plain.stop()).err, /plain TCP without token/);
});

t.test("certificates of an authority: --cert and --client-ca, --ca and --client-cert", async (t) => {
  const authority = await testAuthority();
  const [nas, backup] = [await authority.issue("nas"), await authority.issue("backup")];
  const dir = t.testdir({
    in: {},
    "a.txt": "content",
    "ca.pem": authority.cert,
    "nas.pem": nas.cert,
    "nas.key": nas.key,
    "backup.pem": backup.cert + backup.key,
  });
  const at = (name: string) => join(dir, name);
  const server = await startServe(at("in"), [
    "--cert",
    at("nas.pem"),
    "--key",
    at("nas.key"),
    "--client-ca",
    at("ca.pem"),
  ]);
  const args = ["send", at("a.txt"), "--to", server.address, "--ca", at("ca.pem")];
  const options = { env: { XDG_STATE_HOME: at("nowhere") } };
  t.match(await run([...args, "--client-cert", at("backup.pem")], options), { code: 0 });
  t.match(await server.event("transfer"), { peer: "cert:backup" });
  t.match(await run(args, options), { code: 77, err: /without a ticket.*E_TOKEN/ });
  await server.stop();
  t.match(await run(["serve", at("in"), "--cert", at("a.txt")]), { code: 78, err: /holds no certificate/ });
  const nobody = ["--client-ca", "/dev/null"];
  t.match(await run(["serve", at("in"), ...nobody]), { code: 78, err: /'\/dev\/null' holds no certificate/ });
  t.match(await run([...args.slice(0, -1), at("a.txt")], options), { code: 78, err: /a\.txt' holds no certificate/ });
  t.match(await run(["serve", at("in"), "--cert", at("nas.pem"), "--key", at("none")]), {
    code: 78,
    err: /does not exist/,
  });
  t.match(await run(["serve", at("in"), "--cert", at("nas.pem"), "--key", at("backup.pem")]), {
    code: 78,
    err: /can't be used together/,
  });
});

t.test("who only knocks is no reason to fail", async (t) => {
  const { dir, server, there } = await two(t);
  const [host = "", port] = server.address.split(":");
  for (const bytes of [Uint8Array.of(0x16), Uint8Array.of(0x16, 3, 1, 0, 1, 0), Buffer.from("x"), Uint8Array.of(0)]) {
    const socket = connect(Number(port), host).on("error", () => {});
    socket.end(bytes);
    await new Promise((resolve) => socket.on("close", resolve).resume());
  }
  t.match(await run(["send", "a.txt", "--to", server.address], { ...there, cwd: dir }), { code: 0 });
  t.match(await server.stop(), { code: 0 });
});
