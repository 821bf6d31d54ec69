/** Keys and encryption over real sockets: who gets in, who does not, and what each is told. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import * as tls from "node:tls";
import t, { type Test } from "tap";
import { channelOf } from "../../src/net/channel.ts";
import { proofOf, ticketKeyOf } from "../../src/net/proof.ts";
import { formatTicket, parseTicket } from "../../src/protocol/ticket.ts";
import { assertFailure, assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { testAuthority, testKeys } from "../helpers/keys.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { chunkHeader, HELLO, messageFrame, RawClient } from "../helpers/raw-client.ts";

interface Place {
  readonly served: string;
  readonly file: string;
  readonly bytes: Buffer;
}

function place(t: Test): Place {
  const bytes = Buffer.alloc(3_000_000, "0123456789abcdef");
  const dir = t.testdir({ served: {}, "a.bin": bytes });
  return { served: join(dir, "served"), file: join(dir, "a.bin"), bytes };
}

function listening(t: Test, server: Server): Promise<{ host: string; port: number }> {
  t.teardown(() => server.close());
  return listenAnywhere(server);
}

/** A connection that has greeted, with what proves the ticket on it. */
async function opened(to: tls.ConnectionOptions & { localAddress?: string }, text: string) {
  const socket = tls.connect({ ...to, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { id, token } = parseTicket(text);
  const { exporter } = channelOf(socket, false);
  return {
    raw: RawClient.over(socket).greet(),
    of: (message: "HELLO" | "ATTACH") => ({ ticket: id, proof: proofOf(message, ticketKeyOf(token), exporter) }),
  };
}

// Some of them wait for seconds, and the others go on meanwhile: what waits longest comes first.
t.jobs = 6;

t.test("the server's handshake has a deadline, which silence and a trickle meet", { timeout: 60_000 }, async (t) => {
  const { keys } = await testKeys(t);
  const { to } = await startServer(t, place(t).served, { secure: keys });
  const [silent, trickling] = [await RawClient.connect(to), await RawClient.connect(to)];
  trickling.write(Uint8Array.of(0x16, 3, 1, 2, 0));
  const timer = setInterval(() => trickling.write(Uint8Array.of(1)), 500);
  t.teardown(() => clearInterval(timer));
  await Promise.all([silent.closed, trickling.closed]);
  t.pass("both were closed");
});

t.test("token guessing: a thousand wrong tokens get nowhere, and keep nobody out", { timeout: 120_000 }, async (t) => {
  const { served, file, bytes } = place(t);
  const { keys, ticket, pin } = await testKeys(t);
  const { to, log } = await startServer(t, served, { secure: keys });
  const right = ticket("laptop");
  const { id } = parseTicket(right);
  const answers = new Map<string, number>();
  let guessed = 0;
  const guess = async () => {
    while (guessed < 1000) {
      const nth = guessed++;
      const wrong = formatTicket({ id, token: createHash("sha256").update(`guess ${nth}`).digest(), pin, ...to });
      const { raw, of } = await opened(to, wrong);
      raw.say("HELLO", { ...HELLO, ...of("HELLO") });
      // Who does not wait for the answer makes room for the next guess, and learns nothing.
      if (nth % 100 !== 0) raw.socket.end();
      else {
        const answer = await raw.error();
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, guess));
  t.equal(guessed, 1000);
  t.ok(
    [...answers.keys()].every((code) => code === "E_TOKEN" || code === "closed without ERROR"),
    [...answers].join(),
  );
  t.same(log.of("session"), [], "nobody got in");
  t.ok(log.of("refused").length >= 30, "the log knows of them");
  t.ok(log.of("refused").length <= 90, `${log.of("refused").length} lines in the log, of 30 a minute`);
  assertOk(t, await sendAll({ paths: [file], to, secure: { ticket: right } }));
  t.same(readFileSync(join(served, "a.bin")), bytes);
});

t.test("with a ticket a file arrives, and the ticket's name is who sent it", async (t) => {
  const { served, file, bytes } = place(t);
  const { keys, ticket } = await testKeys(t);
  const { to, log } = await startServer(t, served, { secure: keys });
  const sent = await sendAll({ paths: [file], to, secure: { ticket: ticket("laptop") } });
  assertOk(t, sent);
  t.same(readFileSync(join(served, "a.bin")), bytes);
  t.equal((await log.until("transfer")).record.peer, "laptop");
});

t.test("nothing of a transfer can be read on the way", async (t) => {
  const { served, file } = place(t);
  const { keys, ticket } = await testKeys(t);
  const { to } = await startServer(t, served, { secure: keys });
  const text = ticket("laptop");
  const seen: Buffer[] = [];
  const wire = createServer((near) => {
    const far = connect(to.port, to.host);
    for (const socket of [near, far]) {
      socket.on("error", () => {});
      socket.on("data", (data: Buffer) => seen.push(data));
    }
    near.pipe(far).pipe(near);
  });
  const sent = await sendAll({
    paths: [file],
    to: await listening(t, wire),
    secure: { ticket: text },
    compress: "none",
  });
  assertOk(t, sent);
  const all = Buffer.concat(seen);
  const { token, id } = parseTicket(text);
  t.ok(all.length > 3_000_000, "all of it came by here");
  const secrets: [string, Buffer | Uint8Array][] = [
    ["the name", Buffer.from("a.bin")],
    ["the content", Buffer.from("0123456789abcdef")],
    ["the token", token],
    ["the ticket's id", id],
    ["what it is", Buffer.from("HAWSER")],
  ];
  for (const [what, secret] of secrets) t.equal(all.indexOf(secret), -1, what);
});

t.test("a wrong token and an unknown ticket are told apart by nobody", async (t) => {
  const { served, file } = place(t);
  const { keys, ticket } = await testKeys(t);
  const { to, log } = await startServer(t, served, { secure: keys });
  const good = parseTicket(ticket("laptop"));
  const wrong = formatTicket({ ...good, token: new Uint8Array(32) });
  const unknown = formatTicket({ ...good, id: new Uint8Array(8) });
  const messages: (string | undefined)[] = [];
  for (const text of [wrong, unknown]) {
    const { result } = await sendAll({ paths: [file], to, secure: { ticket: text } });
    assertFailure(t, result, "E_TOKEN", /does not accept this ticket/);
    messages.push(result.error?.message);
  }
  t.equal(messages[0], messages[1], "word for word");
  t.equal((await log.untilCount("refused", 2, ({ code }) => code === "E_TOKEN")).length, 2, "the log knows");
  t.same(log.of("session"), [], "and no session was opened");
});

t.test("a revoked and an expired ticket hear so, from the next connection on", async (t) => {
  const { served, file } = place(t);
  const { keys, ticket, tickets } = await testKeys(t);
  const { to } = await startServer(t, served, { secure: keys });
  const text = ticket("laptop");
  assertOk(t, await sendAll({ paths: [file], to, secure: { ticket: text } }));
  // By another handle of the database, as `hawser ticket revoke` does.
  t.equal(tickets.revoke("laptop", Date.now()), true);
  assertFailure(
    t,
    (await sendAll({ paths: [file], to, secure: { ticket: text } })).result,
    "E_REVOKED",
    /'laptop' was revoked/,
  );
  const wrong = formatTicket({ ...parseTicket(text), token: new Uint8Array(32) });
  assertFailure(t, (await sendAll({ paths: [file], to, secure: { ticket: wrong } })).result, "E_TOKEN");
  const old = ticket("phone", Date.now() - 1000);
  assertFailure(
    t,
    (await sendAll({ paths: [file], to, secure: { ticket: old } })).result,
    "E_EXPIRED",
    /expired at 20/,
  );
});

t.test("no ticket, no pairing: the handshake says whose key it is, and nothing is sent", async (t) => {
  const { served, file } = place(t);
  const { keys } = await testKeys(t);
  const { to, log } = await startServer(t, served, { secure: keys });
  const { result } = await sendAll({ paths: [file], to, secure: {} });
  assertFailure(t, result, "E_NOT_PAIRED", /whose key is sha256:[\w-]{43}; nothing was sent/);
  t.same(log.of("session"), []);
});

t.test("a key that changed: expected, got, and nothing was sent", async (t) => {
  const { served, file } = place(t);
  const [before, after] = [await testKeys(t, "before"), await testKeys(t, "after")];
  const { to, log } = await startServer(t, served, { secure: after.keys });
  const { result } = await sendAll({ paths: [file], to, secure: { ticket: before.ticket("laptop") } });
  assertFailure(t, result, "E_KEY_CHANGED", /expected sha256:[\w-]{43}, got sha256:[\w-]{43}; nothing was sent/);
  t.same(log.of("session"), []);
});

t.test("a server that speaks plain", async (t) => {
  const { served, file } = place(t);
  const { ticket } = await testKeys(t);
  const { to } = await startServer(t, served);
  const { result } = await sendAll({ paths: [file], to, secure: { ticket: ticket("laptop") } });
  assertFailure(t, result, "E_SERVER_PLAIN", /--insecure/);
});

t.test("a client that speaks plain", async (t) => {
  const { served, file } = place(t);
  const { keys } = await testKeys(t);
  const { to, log } = await startServer(t, served, { secure: keys });
  const { result } = await sendAll({ paths: [file], to });
  assertFailure(t, result, "E_NEEDS_TLS", /this one is plain/);
  t.match(await log.until("refused"), { code: "E_NEEDS_TLS", peer: "127.0.0.1" });
});

t.test("a browser at a server with TLS hears what it is", async (t) => {
  const { keys } = await testKeys(t);
  const { to } = await startServer(t, place(t).served, { secure: keys });
  const raw = await RawClient.connect(to);
  raw.write(Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  await raw.closed;
  t.match(raw.text(), /^HTTP\/1\.1 400 .*hawser server/s);
});

t.test("TLS 1.2 is not spoken, and no session is resumed", async (t) => {
  const { keys } = await testKeys(t);
  const { to } = await startServer(t, place(t).served, { secure: keys });
  const old = tls.connect({ ...to, rejectUnauthorized: false, maxVersion: "TLSv1.2" });
  const [error] = await once(old, "error");
  t.match(error, { code: /PROTOCOL_VERSION/ });
  const first = tls.connect({ ...to, rejectUnauthorized: false });
  const [session] = (await once(first, "session")) as [Buffer];
  first.destroy();
  const again = tls.connect({ ...to, rejectUnauthorized: false, session });
  await once(again, "secureConnect");
  t.equal(again.isSessionReused(), false);
  t.match(again.getCipher().name, /^TLS_/);
  again.destroy();
});

t.test("half a handshake, garbage after its first byte, and silence harm nobody", async (t) => {
  const { served, file } = place(t);
  const { keys, ticket } = await testKeys(t);
  const { to, log } = await startServer(t, served, { secure: keys });
  const garbage = await RawClient.connect(to);
  garbage.write(Uint8Array.of(0x16, 3, 1, 0, 4, 9, 9, 9, 9));
  await garbage.closed;
  t.match(await log.until("refused"), { code: "E_NOT_HAWSER", message: /TLS handshake failed/ });
  const half = await RawClient.connect(to);
  half.write(Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0));
  const closed = await RawClient.connect(to);
  closed.write(Uint8Array.of(0x16)).socket.end();
  await closed.closed;
  const silent = await RawClient.connect(to);
  assertOk(t, await sendAll({ paths: [file], to, secure: { ticket: ticket("laptop") } }));
  for (const raw of [half, silent]) raw.end();
});

t.test("a client that is interrupted during the handshake leaves at once", async (t) => {
  const { file } = place(t);
  const { ticket } = await testKeys(t);
  const stop = new AbortController();
  const left = Promise.withResolvers<number>();
  const silent = createServer((socket) => {
    const cameMs = performance.now();
    socket.once("data", () => stop.abort());
    socket.on("close", () => left.resolve(performance.now() - cameMs));
    socket.on("error", () => {});
  });
  const to = await listening(t, silent);
  const { result } = await sendAll({ paths: [file], to, secure: { ticket: ticket("laptop") }, signal: stop.signal });
  t.equal(result.error?.code, "E_INTERRUPTED");
  const afterMs = await left.promise;
  t.ok(afterMs < 9_000, `and not at its deadline of 10 s: after ${Math.round(afterMs)} ms`);
});

t.test("an address that may not come hears so, over TLS as well", async (t) => {
  const { served, file } = place(t);
  const { keys, ticket } = await testKeys(t);
  const { to } = await startServer(t, served, { secure: keys, deny: ["127.0.0.0/8"] });
  const { result } = await sendAll({ paths: [file], to, secure: { ticket: ticket("laptop") }, timeoutMs: 2000 });
  assertFailure(t, result, "E_ADDRESS_REFUSED");
});

t.test("who guesses waits, longer each time; who has a ticket does not, from the same address", async (t) => {
  const { served, file } = place(t);
  const { keys, ticket } = await testKeys(t);
  const { to, log } = await startServer(t, served, { secure: keys });
  const right = ticket("laptop");
  const wrong = formatTicket({ ...parseTicket(right), token: Buffer.alloc(32, 1) });
  const tookMs: number[] = [];
  for (let guess = 0; guess < 3; guess++) {
    const startedMs = performance.now();
    const { result } = await sendAll({ paths: [file], to, secure: { ticket: wrong }, retries: 0 });
    tookMs.push(performance.now() - startedMs);
    assertFailure(t, result, "E_TOKEN");
  }
  t.ok((tookMs[0] ?? 0) >= 250 && (tookMs[1] ?? 0) >= 500 && (tookMs[2] ?? 0) >= 1000, `${tookMs}`);
  assertOk(t, await sendAll({ paths: [file], to, secure: { ticket: right } }));
  t.equal(log.of("session").length, 1);
});

t.test("a guess is told at once, its answer waits, and nothing else is heard or held up meanwhile", async (t) => {
  const { keys, ticket } = await testKeys(t);
  const { to, log, server } = await startServer(t, place(t).served, { secure: keys });
  const { id } = parseTicket(ticket("laptop"));
  const secured = async () => {
    const socket = tls.connect({ ...to, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    return RawClient.over(socket).greet();
  };
  const wrong = { ticket: id, proof: new Uint8Array(32) };
  const told = (count: number) => log.untilCount("refused", count, ({ code }) => code === "E_TOKEN");
  for (let guess = 1; guess <= 5; guess++) {
    const gone = await secured();
    gone.say("HELLO", { ...HELLO, ...wrong });
    await told(guess);
    gone.socket.destroy();
  }
  // From here on an answer takes 8 s.
  const waiting = await secured();
  waiting.say("HELLO", { ...HELLO, ...wrong });
  await told(6);
  const none = await secured();
  none.say("HELLO", HELLO);
  t.equal(await none.error(), "E_TOKEN", "no ticket is no guess");
  const stream = await secured();
  const attach = messageFrame("ATTACH", {
    session: new Uint8Array(16),
    generation: 1,
    stream: 0,
    attempt: 1,
    ...wrong,
  });
  const chunk = new Uint8Array(65_536);
  stream.write(Buffer.concat([attach, chunkHeader(0, 0, chunk), chunk]));
  await told(8);
  t.same([waiting.came, stream.came], [[], []], "neither has heard anything");
  await server.close();
  await Promise.all([waiting.closed, stream.closed]);
  t.same([waiting.came, stream.came], [[], []], "and a server that is stopped does not wait for them");
});

t.test("a relay with a key of its own gets nothing: the pin", async (t) => {
  const { served, file } = place(t);
  const [honest, evil] = [await testKeys(t, "honest"), await testKeys(t, "evil")];
  const { log } = await startServer(t, served, { secure: honest.keys });
  const heard: Buffer[] = [];
  const relay = tls.createServer({ cert: evil.keys.cert, key: evil.keys.key }, (near) => {
    near.on("error", () => {});
    near.on("data", (data: Buffer) => heard.push(data));
  });
  const { result } = await sendAll({
    paths: [file],
    to: await listening(t, relay),
    secure: { ticket: honest.ticket("laptop") },
  });
  assertFailure(t, result, "E_KEY_CHANGED");
  t.equal(Buffer.concat(heard).length, 0, "not a byte behind the handshake");
  t.same(log.of("session"), []);
});

t.test("a relay whose key the client takes for the server's still gains nothing: the proof", async (t) => {
  const { served, file } = place(t);
  const [honest, evil] = [await testKeys(t, "honest"), await testKeys(t, "evil")];
  const { to, log } = await startServer(t, served, { secure: honest.keys });
  const relay = tls.createServer({ cert: evil.keys.cert, key: evil.keys.key }, (near) => {
    const far = tls.connect({ ...to, rejectUnauthorized: false });
    for (const socket of [near, far]) socket.on("error", () => {});
    near.pipe(far).pipe(near);
  });
  const fooled = formatTicket({ ...parseTicket(honest.ticket("laptop")), pin: evil.pin });
  const { result } = await sendAll({ paths: [file], to: await listening(t, relay), secure: { ticket: fooled } });
  assertFailure(t, result, "E_TOKEN");
  t.same(log.of("session"), [], "what was proved to the relay proves nothing to the server");
});

t.test("a proof is good once: not on another connection, and not of another message", async (t) => {
  const { keys, ticket } = await testKeys(t);
  const { to } = await startServer(t, place(t).served, { secure: keys });
  const { id, token } = parseTicket(ticket("laptop"));
  const key = ticketKeyOf(token);
  const secured = async () => {
    const socket = tls.connect({ ...to, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    return { raw: RawClient.over(socket), exporter: channelOf(socket, false).exporter };
  };
  const first = await secured();
  const proof = proofOf("HELLO", key, first.exporter);
  first.raw.greet().say("HELLO", { ...HELLO, ticket: id, proof });
  const welcome = await first.raw.next("WELCOME");
  t.same(welcome.proof, proofOf("WELCOME", key, first.exporter), "the server proves itself too");
  const replayed = await secured();
  replayed.raw.greet().say("HELLO", { ...HELLO, ticket: id, proof });
  t.equal(await replayed.raw.error(), "E_TOKEN", "on another connection");
  const attached = await secured();
  attached.raw.greet().say("ATTACH", {
    ...{ session: welcome.session, generation: 1, stream: 0, attempt: 1 },
    ...{ ticket: id, proof: proofOf("HELLO", key, attached.exporter) },
  });
  t.equal(await attached.raw.error(), "E_TOKEN", "for a stream");
  const none = await secured();
  none.raw.greet().say("HELLO", HELLO);
  t.equal(await none.raw.error(), "E_TOKEN", "and none");
  first.raw.end();
});

t.test("a session belongs to its ticket, wherever its client is", async (t) => {
  const { keys, ticket } = await testKeys(t);
  const { to } = await startServer(t, place(t).served, { secure: keys });
  const open = (text: string, localAddress: string) => opened({ ...to, localAddress }, text);
  const [laptop, phone] = [ticket("laptop"), ticket("phone")];
  const control = await open(laptop, "127.0.0.1");
  control.raw.say("HELLO", { ...HELLO, ...control.of("HELLO") });
  const { session } = await control.raw.next("WELCOME");
  const attach = { session, generation: 1, stream: 0, attempt: 1 };
  const stranger = await open(phone, "127.0.0.1");
  stranger.raw.say("ATTACH", { ...attach, ...stranger.of("ATTACH") });
  t.equal(await stranger.raw.error(), "E_UNKNOWN_SESSION", "another ticket from the same address");
  const moved = await open(laptop, "127.0.0.2");
  moved.raw.say("ATTACH", { ...attach, ...moved.of("ATTACH") });
  t.equal((await moved.raw.next("ATTACHED")).stream, 0, "the same ticket from another address");
  for (const { raw } of [control, moved]) raw.end();
});

t.test("tickets from one address share its places: who moves nothing there gives way to another", async (t) => {
  const { keys, ticket } = await testKeys(t);
  const limits = { maxConnectionsPerPeer: 5, minRateOverMs: 200 };
  const { to, log } = await startServer(t, place(t).served, { secure: keys, ...limits });
  const texts = [ticket("laptop"), ticket("phone")] as const;
  const slow = await opened(to, texts[0]);
  slow.raw.say("HELLO", { ...HELLO, streams: 4, ...slow.of("HELLO") });
  const { session } = await slow.raw.next("WELCOME");
  for (let stream = 0; stream < 4; stream++) {
    const { raw, of } = await opened(to, texts[0]);
    raw.say("ATTACH", { session, generation: 1, stream, attempt: 1, ...of("ATTACH") });
    await raw.next("ATTACHED");
  }
  let isIn = false;
  while (!isIn) {
    const quick = await opened(to, texts[1]);
    quick.raw.say("HELLO", { ...HELLO, ...quick.of("HELLO") });
    isIn = await quick.raw.next("WELCOME").then(
      () => true,
      () => false,
    );
    quick.raw.end();
  }
  t.match(await log.until("ended"), { peer: "laptop", code: "E_GAVE_WAY" });
  t.equal(await slow.raw.error(), "E_GAVE_WAY");
});

t.test("a server that has the key and not the ticket is told nothing", async (t) => {
  const { file } = place(t);
  const mine = await testKeys(t);
  const text = mine.ticket("laptop");
  // It takes any ticket, and answers without being able to prove it.
  const thief = tls.createServer({ cert: mine.keys.cert, key: mine.keys.key }, (socket) => {
    const raw = RawClient.over(socket);
    void raw.next("HELLO").then(() => {
      raw.greet().say("WELCOME", {
        ...{ agent: "thief/1", session: new Uint8Array(16), generation: 1, transfer: "x", chunkBytes: 1 << 20 },
        ...{ windowBytes: 1 << 24, splitBytes: 1 << 20, streams: 1, openFiles: 16, durability: "none" },
      });
    });
  });
  const { result } = await sendAll({ paths: [file], to: await listening(t, thief), secure: { ticket: text } });
  assertFailure(t, result, "E_SERVER_UNPROVEN", /nothing was sent/);
});

t.test("a connection that is harmed on the way is replaced, and the file is whole", async (t) => {
  const { served, file, bytes } = place(t);
  const { keys, ticket } = await testKeys(t);
  const { to } = await startServer(t, served, { secure: keys });
  let harmed = false;
  const wire = createServer((near) => {
    const far = connect(to.port, to.host);
    let passed = 0;
    for (const socket of [near, far]) socket.on("error", () => {});
    near.on("data", (data: Buffer) => {
      passed += data.length;
      if (!harmed && passed > 300_000) {
        harmed = true;
        data[100] = (data[100] as number) ^ 1;
      }
      far.write(data);
    });
    near.on("close", () => far.destroy());
    // As a path does; otherwise the client finds out when its time is up.
    far.on("close", () => near.destroy());
    far.pipe(near);
  });
  const sent = await sendAll({
    paths: [file],
    to: await listening(t, wire),
    secure: { ticket: ticket("laptop") },
    compress: "none",
  });
  assertOk(t, sent);
  t.ok(harmed);
  t.ok(sent.result.retries > 0, "it was dialled again");
  t.same(readFileSync(join(served, "a.bin")), bytes);
});

t.test("certificates of an authority, both ways, stand in for pin and ticket", async (t) => {
  const { served, file } = place(t);
  const { keys, ticket } = await testKeys(t);
  const [authority, stranger] = [await testAuthority(), await testAuthority()];
  const server = await authority.issue("nas");
  const { to, log } = await startServer(t, served, { secure: { ...keys, ...server, clientCa: authority.cert } });
  const ca = authority.cert;
  const client = await authority.issue("backup-1");
  assertOk(t, await sendAll({ paths: [file], to, secure: { ca, ...client } }));
  t.equal((await log.until("transfer")).record.peer, "cert:backup-1");
  assertOk(t, await sendAll({ paths: [file], to, secure: { ca, ticket: ticket("laptop") } }));
  const foreign = await stranger.issue("backup-1");
  const cases = [
    ["E_TOKEN", { ca }],
    ["E_TOKEN", { ca, ...foreign }],
    ["E_CERTIFICATE", { ca: stranger.cert, ...client }],
  ] as const;
  for (const [code, secure] of cases) assertFailure(t, (await sendAll({ paths: [file], to, secure })).result, code);
  const elsewhere = { host: "127.0.0.2", port: to.port };
  const all = await startServer(t, t.testdir({}), { secure: { ...keys, ...server }, host: "0.0.0.0" });
  const { result } = await sendAll({
    paths: [],
    to: { ...elsewhere, port: all.to.port },
    filesFrom: writeList(t, file),
    secure: { ca },
  });
  assertFailure(t, result, "E_CERTIFICATE", /not good for '127\.0\.0\.2'/);
});

t.test("no authority in the text is none, and not the public ones", async (t) => {
  const { served, file } = place(t);
  const { keys } = await testKeys(t);
  for (const clientCa of ["", "\n"]) {
    await t.rejects(startServer(t, served, { secure: { ...keys, clientCa } }), { code: "E_CONFIG" });
  }
  const { to } = await startServer(t, served, { secure: keys });
  for (const ca of ["", "\n"]) {
    assertFailure(t, (await sendAll({ paths: [file], to, secure: { ca } })).result, "E_CONFIG");
  }
});

function writeList(t: Test, path: string): string {
  const list = join(t.testdirName, "list.txt");
  writeFileSync(list, `${path}\n`);
  return list;
}

t.test("a clock that is far off", async (t) => {
  const { served, file } = place(t);
  const { keys } = await testKeys(t);
  const authority = await testAuthority();
  const day = 24 * 3600 * 1000;
  const cases = [
    [{ from: new Date(Date.now() + day) }, /not valid yet, by this machine's clock/],
    [{ to: new Date(Date.now() - day) }, /not valid any more, by this machine's clock/],
  ] as const;
  for (const [dates, message] of cases) {
    const server = await authority.issue("nas", dates);
    const { to, server: running } = await startServer(t, served, { secure: { ...keys, ...server } });
    const { result } = await sendAll({ paths: [file], to, secure: { ca: authority.cert } });
    assertFailure(t, result, "E_CLOCK", message);
    await running.close();
  }
});
