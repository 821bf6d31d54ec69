/** What a client finds at the other end: nothing, other programs, other versions; and what a server finds. */
import { get } from "node:http";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { measure } from "../../src/index.ts";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { assertFailure, assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { directories, makeFile } from "../helpers/files.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { HELLO, messageFrame, RawClient } from "../helpers/raw-client.ts";

/** A program that is no hawser, until the test ends. */
async function program(t: Test, onConnection: (socket: Socket) => void): Promise<{ host: string; port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return listenAnywhere(server);
}

function one(t: Test): string[] {
  return [makeFile(join(directories(t).from, "file"), 10)];
}

t.test("nothing listens there", async (t) => {
  const server = createServer();
  const { port } = await listenAnywhere(server);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  const { result } = await sendAll({ paths: one(t), to: { host: "127.0.0.1", port } });
  assertFailure(t, result, "E_UNREACHABLE", new RegExp(`127\\.0\\.0\\.1:${port} .*nothing listens`));
  const measured = await measure({ to: { host: "127.0.0.1", port }, seconds: 0.1 });
  assertFailure(t, measured, "E_UNREACHABLE");
});

t.test("a name that is none", async (t) => {
  const { result } = await sendAll({
    paths: one(t),
    to: { host: "no.such.host.invalid", port: 23300 },
    timeoutMs: 8000,
  });
  assertFailure(t, result, "E_UNREACHABLE", /no\.such\.host\.invalid/);
});

t.test("a port that accepts and says nothing", async (t) => {
  const to = await program(t, () => {});
  const { result } = await sendAll({ paths: one(t), to, timeoutMs: 300 });
  assertFailure(t, result, "E_NO_ANSWER", /0\.3 s/);
});

t.test("a port that accepts and closes", async (t) => {
  const to = await program(t, (socket) => socket.end());
  const { result } = await sendAll({ paths: one(t), to, timeoutMs: 3000 });
  assertFailure(t, result, "E_NO_ANSWER");
});

t.test("other programs", async (t) => {
  for (const [banner, message] of [
    ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", /HTTP/],
    ["SSH-2.0-OpenSSH_9.6\r\n", /SSH/],
    ["220 mail.example ESMTP\r\n", /FTP or SMTP/],
    ["\x15\x03\x01\x00\x02\x02\x28", /TLS/],
    ["?", /unknown/],
  ] as const) {
    const to = await program(t, (socket) => void socket.end(Buffer.from(banner, "latin1")));
    const { result } = await sendAll({ paths: one(t), to, timeoutMs: 3000 });
    assertFailure(t, result, "E_NOT_HAWSER", message);
  }
});

t.test("other protocol version: a server of another one", async (t) => {
  const to = await program(t, (socket) => {
    socket.once("data", () => {
      const error = { code: 101, message: "the other end speaks protocol versions 1 to 1, this end 7 to 9" };
      socket.end(Buffer.concat([encodeGreeting({ min: 7, max: 9 }), messageFrame("ERROR", error)]));
    });
  });
  const { result } = await sendAll({ paths: one(t), to, timeoutMs: 3000 });
  assertFailure(t, result, "E_VERSION", /7 to 9.*1 to 1|1 to 1.*7 to 9/);
});

t.test("other protocol version: a client of another one", async (t) => {
  const { to, log } = await startServer(t, directories(t).to);
  for (const versions of [
    { min: 2, max: 3 },
    { min: 0, max: 0 },
    { min: 5, max: 1 },
  ]) {
    const raw = await RawClient.connect(to);
    raw.greet(versions).say("HELLO", HELLO);
    const { code, message } = await raw.next("ERROR");
    t.equal(code, 101);
    t.match(message, `${versions.min} to ${versions.max}`);
    t.match(message, "1 to 1");
    t.same(raw.versions, { min: 1, max: 1 }, "with its own greeting");
    t.same(await raw.closed, { clean: true });
  }
  const range = await RawClient.connect(to);
  range.greet({ min: 1, max: 9 }).say("HELLO", HELLO);
  await range.next("WELCOME");
  t.pass("a range that holds ours will do");
  range.end();
  t.equal(log.of("refused").length, 3);
  t.ok(log.of("refused").every(({ code, peer }) => code === "E_VERSION" && peer === "127.0.0.1"));
});

t.test("a server that answers with a secret session and then nonsense", async (t) => {
  const to = await program(t, (socket) => {
    socket.once("data", () => {
      socket.write(Buffer.concat([encodeGreeting(), messageFrame("PLAN", { files: [] })]));
    });
  });
  const { result } = await sendAll({ paths: one(t), to, timeoutMs: 3000 });
  assertFailure(t, result, "E_WRONG_STATE");
});

t.test("a browser is told what this is", async (t) => {
  const { to } = await startServer(t, directories(t).to);
  for (const headers of [{}, { cookie: "c".repeat(12_000) }]) {
    const [status, body] = await new Promise<[number | undefined, string]>((resolve, reject) => {
      get({ ...to, headers, agent: false }, (response) => {
        let text = "";
        response.on("data", (bytes) => {
          text += bytes;
        });
        response.on("end", () => resolve([response.statusCode, text]));
      }).on("error", reject);
    });
    t.equal(status, 400);
    t.match(body, /hawser server/);
  }
});

t.test("a TLS client gets an alert", async (t) => {
  const { to } = await startServer(t, directories(t).to);
  const raw = await RawClient.connect(to);
  raw.write(Buffer.from("16030100c8010000c40303", "hex"), Buffer.alloc(200));
  await raw.closed;
  t.equal(Buffer.concat(raw.bytes).subarray(0, 7).toString("hex"), "15030100020228", "fatal, handshake_failure");
});

t.test("other bytes get no answer but the end", async (t) => {
  const { to, log } = await startServer(t, directories(t).to);
  const raw = await RawClient.connect(to);
  raw.write(Buffer.alloc(100_000, 0xff));
  await raw.closed;
  await log.until("refused", ({ code }) => code === "E_NOT_HAWSER");
});

t.test("idle, trickling or half-open before authentication: ten seconds in all", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const startedMs = performance.now();
  const idle = await RawClient.connect(to);
  const trickling = await RawClient.connect(to);
  const greeting = encodeGreeting();
  let at = 0;
  const timer = setInterval(() => trickling.write(greeting.subarray(at, ++at)), 700);
  const hello = messageFrame("HELLO", HELLO);
  const half = await RawClient.connect(to);
  half.greet().write(hello.subarray(0, hello.length - 1));
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "file"), 10)], to }));
  t.equal(await idle.error(), "E_TIMEOUT");
  t.equal(await half.error(), "E_TIMEOUT");
  t.equal(await trickling.error(), "E_TIMEOUT");
  clearInterval(timer);
  await Promise.all([idle.closed, trickling.closed, half.closed]);
  const tookMs = performance.now() - startedMs;
  t.ok(tookMs > 9_000 && tookMs < 20_000, `after ten seconds: ${Math.round(tookMs)} ms`);
});

t.test("a measurement that is stopped before it began", async (t) => {
  const { to } = await startServer(t, directories(t).to);
  const result = await measure({ to, seconds: 0.1, signal: AbortSignal.abort() });
  assertFailure(t, result, "E_INTERRUPTED");
});

t.test("IPv6, and a name that stands for it", async (t) => {
  const { from, to: dir } = directories(t);
  let served: Awaited<ReturnType<typeof startServer>>;
  try {
    served = await startServer(t, dir, { host: "::1" });
  } catch (error) {
    t.pass(`skipped: no IPv6 here: ${(error as Error).message}`);
    return;
  }
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "file"), 10)], to: served.to }));
  t.equal(served.log.of("session")[0]?.peer, "::1");
});

t.test("an IPv4 client of a server for both families is an IPv4 peer", async (t) => {
  const { from, to: dir } = directories(t);
  let served: Awaited<ReturnType<typeof startServer>>;
  try {
    served = await startServer(t, dir, { host: "::" });
  } catch (error) {
    t.pass(`skipped: no IPv6 here: ${(error as Error).message}`);
    return;
  }
  const to = { host: "127.0.0.1", port: served.to.port };
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "file"), 10)], to }));
  t.equal(served.log.of("session")[0]?.peer, "127.0.0.1");
});

t.test("a port in use", async (t) => {
  const { to } = await startServer(t, directories(t).to);
  const other = t.testdir({ other: {} });
  await t.rejects(startServer(t, join(other, "other"), { port: to.port }), { code: "E_ADDRESS_IN_USE", exitCode: 78 });
  await t.rejects(startServer(t, join(other, "missing")), { code: "E_CONFIG", exitCode: 78 });
});
