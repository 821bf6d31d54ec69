/**
 * Faults: control characters in names, and in all else that comes from a peer: escaped wherever it is shown, at both ends,
 * by the real commands.
 */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { formatEndpoint } from "../../src/index.ts";
import { FrameDecoder, SLACK_BYTES } from "../../src/protocol/decoder.ts";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { isData, type MessageName } from "../../src/protocol/header.ts";
import { decodeMessage, type Message } from "../../src/protocol/messages.ts";
import { ALL_HOSTILE, assertHarmless, HOSTILE } from "../helpers/hostile-text.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { messageFrame, offered, openSession, openStream, RawClient } from "../helpers/raw-client.ts";
import { inTerminal, noTerminal } from "../helpers/terminal.ts";
import { BIN, type Ended, run, startServe } from "./program.ts";

const CHUNK = 64 * 1024;

function assertBoth(t: Test, { out, err }: Ended, what: string): void {
  assertHarmless(t, out, `${what}: standard output`);
  assertHarmless(t, err, `${what}: standard error`);
}

/** Files, directories and links of such names, and of such names that are not UTF-8. */
function plantHostile(dir: string): void {
  for (const [i, name] of HOSTILE.entries()) {
    writeFileSync(join(dir, `f${name}`), `${i}`);
    writeFileSync(Buffer.concat([Buffer.from(join(dir, `r${name}`)), Buffer.from([0xff])]), `${i}`);
    mkdirSync(join(dir, `d${name}`));
    symlinkSync(name, join(dir, `l${name}`));
  }
}

t.test("names: what send and serve say, receipts, errors, progress, history, dry runs", async (t) => {
  const dir = t.testdir({ from: {}, to: {} });
  const [from, to] = [join(dir, "from"), join(dir, "to")];
  plantHostile(from);
  const server = await startServe(to, ["-v"]);
  const send = (...args: string[]) => run(["send", `${from}/`, "--to", server.address, ...args]);
  const dry = await send("--dry-run", "-v");
  t.equal(dry.code, 0, dry.err);
  assertBoth(t, dry, "a dry run");
  const first = await send("-v", "--progress", "plain", "--verify", "full");
  t.equal(first.code, 0, first.err);
  t.match(first.out, "\\u{1b}[2J", "names are shown, escaped");
  assertBoth(t, first, "a receipt");
  for (const args of [["--json"], ["--progress", "json"], ["--json", "--dry-run"]]) {
    const ended = await send(...args);
    t.equal(ended.code, 0, ended.err);
    if (args.includes("--json")) t.ok(JSON.parse(ended.out).files.length > HOSTILE.length);
    assertBoth(t, ended, args.join(" "));
  }
  for (const [i, name] of HOSTILE.entries()) writeFileSync(join(from, `f${name}`), `other ${i}`);
  for (const args of [["-v"], ["--json"], ["--progress", "json"], ["--dry-run"]]) {
    const failed = await send(...args);
    t.not(failed.code, 0);
    assertBoth(t, failed, `names that are taken, ${args}`);
  }
  t.match((await send("--overwrite", "rename", "-v")).code, 0);
  // What is named on the command line, and is not there.
  assertBoth(t, await run(["send", ...HOSTILE.map((name) => `./none${name}`), "--to", server.address]), "no file");
  assertBoth(t, await run(["send", `./none${ALL_HOSTILE}`, "--to", server.address]), "no file");
  for (const name of HOSTILE.slice(0, 3)) {
    assertBoth(t, await run(["send", `${from}/`, "--to", server.address, "--into", `x${name}/..`]), "into");
    assertBoth(t, await run(["send", `${from}/`, "--to", name]), "to");
  }
  const ended = await server.stop();
  assertHarmless(t, ended.out, "events");
  assertHarmless(t, ended.err, "the log");
  for (const args of [
    ["history", to],
    ["history", to, "--json"],
    ["sessions", to],
  ]) {
    assertBoth(t, await run(args), args.join(" "));
  }
});

t.test("names in a terminal, beside the bars", { skip: noTerminal() ?? false }, async (t) => {
  const dir = t.testdir({ from: {}, to: {} });
  plantHostile(join(dir, "from"));
  const server = await startServe(join(dir, "to"));
  const command = [process.execPath, BIN, "send", `${join(dir, "from")}/`, "--to", server.address, "-v"];
  for (let run = 0; run < 2; run++) {
    for (const [i, name] of HOSTILE.entries()) writeFileSync(join(dir, "from", `f${name}`), `${run} ${i}`);
    const { text } = await inTerminal(t, command).ended;
    for (const [i, hostile] of HOSTILE.entries()) t.notOk(text.includes(hostile), `text ${i}`);
  }
  await server.stop();
});

t.test("a client's words: its agent, its errors, its names in sessions that wait", async (t) => {
  const to = join(t.testdir({ to: {} }), "to");
  const server = await startServe(to, ["-v", "--insecure"]);
  const [host = "", port] = server.address.split(":");
  const address = { host, port: Number(port) };
  const { control, terms } = await openSession(address, { agent: ALL_HOSTILE, chunkBytes: CHUNK });
  const files = HOSTILE.map((name, i) => ({ ...offered(i, name, 2 * CHUNK), key: Buffer.alloc(16, i + 1) }));
  control.say("OFFER", { settledBelow: 0, files });
  await control.next("PLAN");
  const stream = await openStream(address, terms.session);
  for (const { file } of files) stream.chunk(file, 0, Buffer.alloc(CHUNK, file));
  await stream.next("ACK");
  control.say("WITHDRAW", { files: [{ file: 0, error: { code: 405, message: ALL_HOSTILE } }] });
  await control.next("OUTCOME");
  // The same again, so that the first one's agent is named to the second.
  const second = await RawClient.connect(address);
  second.greet().say("HELLO", {
    ...(terms as object),
    agent: ALL_HOSTILE,
    role: "source",
    purpose: "transfer",
    streams: 1,
    chunkBytes: CHUNK,
    keys: files.map(({ key }) => key),
    session: undefined,
    generation: undefined,
  } as unknown as Message<"HELLO">);
  await Promise.race([second.next("WELCOME"), second.error()]);
  second.end();
  control.say("ERROR", { code: 406, message: ALL_HOSTILE });
  await server.event("ended");
  for (const args of [
    ["sessions", to],
    ["sessions", to, "--json"],
    ["sessions", to, "--drop", ALL_HOSTILE],
  ]) {
    const ended = await run(args);
    assertBoth(t, ended, args.slice(0, 3).join(" "));
  }
  const other = await RawClient.connect(address);
  other.greet().say("ERROR", { code: 406, message: ALL_HOSTILE });
  await other.closed;
  const ended = await server.stop();
  t.match(ended.err, "\\u{1b}]0;title", "it is said, escaped");
  assertHarmless(t, ended.err, "the log");
  for (const event of server.events)
    assertHarmless(t, JSON.stringify(event).replaceAll(/\\u[0-9a-f]{4}|\\[nrtbf]/g, ""), "an event");
  assertBoth(t, await run(["history", to]), "history");
  assertBoth(t, await run(["history", to, "--json"]), "history --json");
  stream.end();
});

/** A server that says what it likes. */
async function hostileServer(
  t: Test,
  say: Partial<Record<MessageName, (socket: Socket, body: never) => void>>,
): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    const decoder = new FrameDecoder({
      admit: ({ payloadBytes }) => new Uint8Array(payloadBytes + SLACK_BYTES),
      onGreeting: () => void socket.write(encodeGreeting()),
      onFrame: ({ header: { name }, payload }) => {
        if (!isData(name)) say[name]?.(socket, decodeMessage(name, payload) as never);
      },
    });
    socket.on("data", (bytes) => decoder.push(bytes));
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return formatEndpoint(await listenAnywhere(server));
}

const WELCOME = {
  agent: ALL_HOSTILE,
  session: new Uint8Array(16).fill(7),
  generation: 1,
  transfer: ALL_HOSTILE,
  chunkBytes: CHUNK,
  windowBytes: 8 * CHUNK,
  splitBytes: CHUNK,
  streams: 1,
  openFiles: 256,
  durability: "none" as const,
};

t.test("a server's words: its errors, its agent, transfer ids, what it says of files, and new names", async (t) => {
  const dir = t.testdir({ a: "a", b: "b", c: "c" });
  const paths = ["a", "b", "c"].map((name) => join(dir, name));
  const modes = [["-v"], ["--json"], ["--progress", "json", "-v"]];
  const refusing = await hostileServer(t, {
    HELLO: (socket) => socket.end(messageFrame("ERROR", { code: 103, message: ALL_HOSTILE })),
  });
  const failing = await hostileServer(t, {
    HELLO: (socket) => socket.write(messageFrame("WELCOME", WELCOME)),
    ATTACH: (socket, { stream }: Message<"ATTACH">) => socket.write(messageFrame("ATTACHED", { stream })),
    PING: (socket, { id }: Message<"PING">) => socket.write(messageFrame("PONG", { id, doing: ALL_HOSTILE })),
    OFFER: (socket, { files }: Message<"OFFER">) => {
      const settled = files.map(({ file }) =>
        file === 1
          ? { file, status: "unchanged" as const, size: 1, name: Buffer.from(ALL_HOSTILE) }
          : { file, status: "failed" as const, error: { code: 301, message: ALL_HOSTILE } },
      );
      socket.write(messageFrame("OUTCOME", { files: settled }));
    },
    FINISH: (socket, { files }: Message<"FINISH">) =>
      socket.write(messageFrame("RECEIPT", { files, failed: files - 1, bytes: 1, durationMs: 1, cpuMicros: 1 })),
  });
  const ending = await hostileServer(t, {
    HELLO: (socket) => socket.write(messageFrame("WELCOME", WELCOME)),
    ATTACH: (socket, { stream }: Message<"ATTACH">) => socket.write(messageFrame("ATTACHED", { stream })),
    OFFER: (socket) => socket.end(messageFrame("ERROR", { code: 305, message: ALL_HOSTILE })),
  });
  for (const [what, code, address] of [
    ["refuses", "E_BUSY", refusing],
    ["fails files", "E_EXISTS", failing],
    ["ends it", "E_DESTINATION", ending],
  ] as const) {
    for (const mode of modes) {
      const ended = await run([
        "send",
        ...paths,
        "--to",
        address,
        "--insecure",
        "--timeout",
        "1",
        "--retries",
        "0",
        ...mode,
      ]);
      t.not(ended.code, 0, `${what}: ${mode}`);
      t.match(ended.err + ended.out, /title/, "it is said");
      t.match(ended.err + ended.out, code, "and what the server said it of");
      assertBoth(t, ended, `${what}, ${mode}`);
    }
    assertBoth(
      t,
      await run(["shell", "--insecure"], {
        env: { HAWSER_TIMEOUT: "1" },
        input: `server_url ${address}\nfile_name ${paths[0]}\ntransfer_file\nstatus\nexit\n`,
      }),
      `${what}, the shell`,
    );
  }
  const without = noTerminal();
  if (without !== undefined) {
    t.comment(`not in a terminal: ${without}`);
    return;
  }
  for (const address of [refusing, failing, ending]) {
    const command = [
      process.execPath,
      BIN,
      "send",
      ...paths,
      "--to",
      address,
      "--insecure",
      "--timeout",
      "1",
      "--retries",
      "0",
      "-v",
    ];
    const { text } = await inTerminal(t, command).ended;
    for (const [i, hostile] of HOSTILE.entries()) t.notOk(text.includes(hostile), `text ${i}`);
  }
});

t.test("another program's words", async (t) => {
  const dir = t.testdir({ a: "a" });
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end(`SSH-2.0-${ALL_HOSTILE}\r\n`);
  });
  t.teardown(() => void server.close());
  const address = formatEndpoint(await listenAnywhere(server));
  assertBoth(
    t,
    await run(["send", join(dir, "a"), "--to", address, "--insecure", "--timeout", "2"]),
    "it looks like SSH",
  );
});
