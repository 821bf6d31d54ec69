/**
 * What a path does to connections, and what connections do to each other: some of them break, some hang, some are slow,
 * some come late. The file arrives whole, and nothing is mixed. (Damage on the path is in damage.test.ts, what breaks the
 * protocol in violations.test.ts, other programs and versions in connecting.test.ts.)
 */
import { join } from "node:path";
import t from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { type Rule, type Shape, startProxy } from "../helpers/proxy.ts";
import { randomFrom } from "../helpers/random.ts";
import {
  chunkHeader,
  HELLO,
  messageFrame,
  offered,
  openSession,
  openStream,
  RawClient,
} from "../helpers/raw-client.ts";
import { keyOf } from "../helpers/received.ts";
import { CHUNK, halfWay } from "../helpers/unfinished.ts";

const N = 4;

// Most of the time a path is slow, or a deadline is waited for.
t.jobs = 3;

/** k of the numbers below N. */
function chosen(k: number, random: () => number): number[] {
  const left = Array.from({ length: N }, (_, i) => i);
  return Array.from({ length: k }, () => left.splice(Math.floor(random() * left.length), 1)[0] as number);
}

const ATTACHED: Rule = {
  kind: "stream",
  direction: "down",
  frame: "ATTACHED",
  part: "type",
  nth: 0,
  action: "hold",
  times: N,
};

for (const what of ["reset", "half-close", "blackhole", "delay"] as const) {
  t.test(`${what} on k of ${N} connections`, async (t) => {
    for (const k of [1, 2, N]) {
      const seed = 100 * k + what.length;
      const random = randomFrom(seed);
      const ordinals = chosen(k, random);
      await t.test(`k = ${k}, seed ${seed}: streams ${ordinals.join(", ")}`, async (t) => {
        const { from, to: dir } = directories(t);
        const { to, log } = await startServer(t, dir);
        // All begin at once, so that none finds all bytes dealt to the others.
        const rules: Rule[] = [ATTACHED];
        const shapes = new Map<number, Shape>();
        for (const ordinal of ordinals) {
          if (what === "delay") shapes.set(ordinal, { delayMs: 100 + Math.floor(400 * random()) });
          else {
            const action = what === "blackhole" ? "stall" : what;
            const part = random() < 0.5 ? "payload" : "offset";
            const nth = Math.floor(3 * random());
            rules.push({ kind: "stream", direction: "up", frame: "CHUNK", ordinal, nth, part, action });
          }
        }
        // Slow enough for each of them to have its share.
        const shape = ({ kind, ordinal }: { kind: string; ordinal: number }): Shape =>
          kind === "control" ? {} : (shapes.get(ordinal) ?? { bytesPerSecond: 8 * MIB });
        const proxy = await startProxy(t, to, { rules, shape, seed });
        const bytes = 12 * MIB + 1;
        const path = makeFile(join(from, "file"), bytes, seed);
        const sending = sendAll({ paths: [path], to: proxy.address, streams: N, chunkBytes: CHUNK, timeoutMs: 5000 });
        await proxy.until(() => proxy.harm.length === N);
        proxy.release("stream");
        const sent = await sending;
        assertOk(t, sent);
        assertContent(t, join(dir, "file"), contentOf(bytes, seed));
        t.same(partsIn(dir), []);
        if (what === "delay") t.equal(sent.result.retries, 0, "slow is not broken");
        else {
          t.equal(proxy.harm.length - N, k, `the harm was done: ${proxy.harm.join("; ")}`);
          t.ok(sent.result.retries > 0 || what === "blackhole", "it is counted");
        }
        t.equal(proxy.connections.control, 1, "the control connection is as it was");
        t.equal(log.of("file").length, 1);
      });
    }
  });
}

t.test("blackhole: a stall is named, and over when the path carries again", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 4 * MIB, 8);
  const { sending, proxy, log } = await halfWay(t, to, 20, { paths: [path], timeoutMs: 20_000 });
  const { stall } = await log.until("progress", ({ phase }) => phase === "stalled");
  t.match(stall, { waitingFor: "the path to carry data" });
  t.ok(Number(stall?.ms) >= 3000, "not before it is worth a word");
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  t.equal(log.of("progress").at(-1)?.stall, null);
  assertContent(t, join(dir, "file"), contentOf(4 * MIB, 8));
});

t.test("a session id used from another address: of a session that is on the disk", async (t) => {
  const { to: dir } = directories(t);
  const first = await startServer(t, dir);
  const [one, two] = [contentOf(CHUNK, 1), contentOf(CHUNK, 2)];
  const offer = { ...offered(0, "file", 2 * CHUNK), key: keyOf("file") };
  const { control, terms } = await openSession(first.to, { keys: [offer.key] });
  control.say("OFFER", { settledBelow: 0, files: [offer] });
  await control.next("PLAN");
  const stream = await openStream(first.to, terms.session);
  stream.chunk(0, 0, one);
  await stream.next("ACK");
  await first.server.close();
  const { to, log } = await startServer(t, dir);
  const { session } = terms;
  const thief = await RawClient.connect(to, "127.0.0.2");
  thief.greet().say("HELLO", { ...HELLO, session, generation: 1 });
  t.equal(await thief.error(), "E_UNKNOWN_SESSION");
  const streamThief = await RawClient.connect(to, "127.0.0.2");
  streamThief.greet().say("ATTACH", { session, generation: 1, stream: 0, attempt: 1 });
  t.equal(await streamThief.error(), "E_UNKNOWN_SESSION");
  t.equal((await log.untilCount("refused", 2, ({ peer }) => peer === "127.0.0.2")).length, 2, "it is logged");
  const namesake = await RawClient.connect(to, "127.0.0.2");
  namesake.greet().say("HELLO", { ...HELLO, keys: [offer.key] });
  const others = await namesake.next("WELCOME");
  t.notSame(others.session, session, "who knows the file's key gets a session of its own");
  t.equal(others.generation, 1);
  namesake.say("OFFER", { settledBelow: 0, files: [offer] });
  await namesake.next("PLAN");
  t.notOk(
    namesake.came.some(({ name }) => name === "HAVE"),
    "and nothing of what is there",
  );
  namesake.end();
  // The real one is as it was.
  const { control: again, terms: back } = await openSession(to, { session, generation: 1 });
  t.same(back.session, session);
  t.equal(back.generation, 2);
  again.say("OFFER", { settledBelow: 0, files: [offer] });
  t.match(await again.next("HAVE"), { file: 0, offset: 0 });
  await again.next("PLAN");
  const rest = await openStream(to, session, 0, undefined, { generation: 2 });
  rest.chunk(0, CHUNK, two);
  const whole = Buffer.concat([one, two]);
  again.say("SEAL", { files: [{ file: 0, size: whole.length, crc32: crc32(whole) }] });
  t.match(await again.next("OUTCOME"), { files: [{ status: "committed" }] });
  assertContent(t, join(dir, "file"), whole);
  for (const raw of [control, stream, again, rest]) raw.end();
});

t.test("a dead connection's late bytes after its replacement", async (t) => {
  const right = contentOf(CHUNK, 1);
  const wrong = contentOf(CHUNK, 2);
  const seal = { file: 0, size: CHUNK, crc32: crc32(right) };

  await t.test("of a stream whose client dialled again", async (t) => {
    const { from, to: dir } = directories(t);
    const { to, log } = await startServer(t, dir);
    const bytes = 4 * MIB;
    const path = makeFile(join(from, "file"), bytes, 8);
    const more: Rule[] = [
      { kind: "stream", ordinal: 1, direction: "up", frame: "CHUNK", part: "type", nth: 2, action: "hold" },
    ];
    const { sending, proxy } = await halfWay(t, to, 20, { paths: [path], timeoutMs: 20_000 }, more);
    const deliver = proxy.orphanAll("stream");
    // The replacement is there, and has brought something, when the rest of the dead one comes.
    await proxy.until(() => proxy.harm.length === 2);
    deliver();
    proxy.release("stream");
    const sent = await sending;
    assertOk(t, sent);
    assertContent(t, join(dir, "file"), contentOf(bytes, 8));
    t.same(proxy.connections, { control: 1, stream: 2 });
    t.same(log.of("ended"), [], "nobody took it for a violation");
  });

  await t.test("of a stream, the rest of a chunk", async (t) => {
    const { to: dir } = directories(t);
    const { to, log } = await startServer(t, dir);
    const { control, terms } = await openSession(to);
    control.say("OFFER", { settledBelow: 0, files: [offered(0, "file", CHUNK)] });
    await control.next("PLAN");
    const old = await openStream(to, terms.session);
    old.write(chunkHeader(0, 0, wrong), wrong.subarray(0, 1000));
    const fresh = await openStream(to, terms.session, 0, undefined, { attempt: 2 });
    // A server that took it would find the right one, which comes later, to be another.
    old.write(wrong.subarray(1000));
    await old.closed;
    t.same(
      old.came.map(({ name }) => name),
      ["ATTACHED"],
      "it is dropped without a word",
    );
    fresh.chunk(0, 0, right);
    t.same(await fresh.next("ACK"), { chunks: [[0, 0, CHUNK]] });
    control.say("SEAL", { files: [seal] });
    t.match(await control.next("OUTCOME"), { files: [{ status: "committed" }] });
    assertContent(t, join(dir, "file"), right);
    t.same(log.of("ended"), []);
    for (const raw of [control, fresh]) raw.end();
  });

  await t.test("of a control connection, the rest of a message", async (t) => {
    const { to: dir } = directories(t);
    const { to } = await startServer(t, dir);
    const { control: old, terms } = await openSession(to);
    old.say("OFFER", { settledBelow: 0, files: [offered(0, "file", CHUNK)] });
    await old.next("PLAN");
    const withdrawal = messageFrame("WITHDRAW", { files: [{ file: 0, error: { code: 405, message: "late" } }] });
    old.write(withdrawal.subarray(0, 40));
    const { session, generation } = terms;
    const { control } = await openSession(to, { session, generation });
    old.write(withdrawal.subarray(40));
    await old.closed;
    const stream = await openStream(to, session);
    stream.chunk(0, 0, right);
    control.say("SEAL", { files: [seal] });
    t.match(await control.next("OUTCOME"), { files: [{ status: "committed" }] });
    for (const raw of [control, stream]) raw.end();
  });

  await t.test("an ATTACH that comes after a later one of the same stream", async (t) => {
    const { to: dir } = directories(t);
    const { to } = await startServer(t, dir);
    const { control, terms } = await openSession(to);
    control.say("OFFER", { settledBelow: 0, files: [offered(0, "file", CHUNK)] });
    await control.next("PLAN");
    const { session } = terms;
    const fresh = await openStream(to, session, 0, undefined, { attempt: 3 });
    for (const attempt of [1, 2]) {
      const late = await RawClient.connect(to);
      late.greet().say("ATTACH", { session, generation: 1, stream: 0, attempt });
      late.chunk(0, 0, wrong);
      t.equal(await late.error(), "E_UNKNOWN_SESSION", `attempt ${attempt} after 3`);
    }
    fresh.chunk(0, 0, right);
    t.same(await fresh.next("ACK"), { chunks: [[0, 0, CHUNK]] }, "the later one was left alone");
    control.say("SEAL", { files: [seal] });
    t.match(await control.next("OUTCOME"), { files: [{ status: "committed" }] });
    for (const raw of [control, fresh]) raw.end();
  });

  await t.test("all connections of a generation that another run has followed", async (t) => {
    const { to: dir } = directories(t);
    const { to, log } = await startServer(t, dir);
    const key = keyOf("file");
    const offer = { ...offered(0, "file", 2 * CHUNK), key };
    const { control: old, terms } = await openSession(to, { keys: [key] });
    old.say("OFFER", { settledBelow: 0, files: [offer] });
    await old.next("PLAN");
    const oldStream = await openStream(to, terms.session);
    oldStream.chunk(0, 0, right);
    await oldStream.next("ACK");
    // These answer no PING: they count as dead.
    const { control, terms: next } = await openSession(to, { keys: [key] });
    t.same(next.session, terms.session);
    t.equal(next.generation, 2);
    oldStream.chunk(0, CHUNK, wrong);
    old.say("WITHDRAW", { files: [{ file: 0, error: { code: 405, message: "late" } }] });
    const { session } = terms;
    const lateStream = await RawClient.connect(to);
    lateStream.greet().say("ATTACH", { session, generation: 1, stream: 0, attempt: 2 });
    lateStream.chunk(0, CHUNK, wrong);
    t.equal(await lateStream.error(), "E_UNKNOWN_SESSION", "its ATTACH is refused");
    const lateControl = await RawClient.connect(to);
    lateControl.greet().say("HELLO", { ...HELLO, session, generation: 1 });
    t.equal(await lateControl.error(), "E_UNKNOWN_SESSION", "and so is its HELLO");
    await Promise.all([old.closed, oldStream.closed]);
    control.say("OFFER", { settledBelow: 0, files: [offer] });
    t.match(await control.next("HAVE"), { file: 0, offset: 0 });
    await control.next("PLAN");
    const stream = await openStream(to, session, 0, undefined, { generation: 2 });
    stream.chunk(0, CHUNK, right);
    const whole = Buffer.concat([right, right]);
    control.say("SEAL", { files: [{ file: 0, size: whole.length, crc32: crc32(whole) }] });
    t.match(await control.next("OUTCOME"), { files: [{ status: "committed" }] });
    assertContent(t, join(dir, "file"), whole);
    t.equal(log.of("ended").length, 1, "the dead one's end is logged");
    for (const raw of [control, stream]) raw.end();
  });
});

t.test("two clients, same name: 100 of them", async (t) => {
  const RACERS = 100;
  const { from, to: dir } = directories(t);
  const { to, server } = await startServer(t, dir, { maxSessionsPerPeer: RACERS });
  const proxy = await startProxy(t, to);
  proxy.hold("stream");
  const bytes = 150 * KIB;
  const sending = Array.from({ length: RACERS }, (_, i) =>
    sendAll({
      paths: [makeFile(join(from, `racer-${i}`), bytes, i)],
      to: proxy.address,
      name: "contested",
      streams: 1,
      chunkBytes: CHUNK,
    }),
  );
  // All are told to send before any can.
  await proxy.until(() => proxy.framesOf("down", "PLAN") === RACERS);
  proxy.release("stream");
  const sent = await Promise.all(sending);
  const winners = sent.flatMap(({ result }, i) => (result.ok ? [i] : []));
  t.equal(winners.length, 1, "exactly one committed");
  const codes = sent.flatMap(({ result }) => (result.ok ? [] : [result.error?.code]));
  t.same(codes, Array(RACERS - 1).fill("E_EXISTS"), "all others are told so");
  assertContent(t, join(dir, "contested"), contentOf(bytes, winners[0] as number), "the winner's file");
  t.same(namesIn(dir), ["contested"]);
  t.same(partsIn(dir), [], "nothing stays in staging");
  await server.close();
});
