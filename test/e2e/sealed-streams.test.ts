/** Streams sealed with keys of their control connection's: what goes by on the way, and what who sits there can make of it. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import * as tls from "node:tls";
import t, { type Test } from "tap";
import { channelOf } from "../../src/net/channel.ts";
import { proofOf, ticketKeyOf } from "../../src/net/proof.ts";
import { openSealed, sealedDials } from "../../src/net/sealed-client.ts";
import { SEALED_FIRST_BYTE, SEALED_OPENING_BYTES } from "../../src/protocol/sealed.ts";
import { parseTicket } from "../../src/protocol/ticket.ts";
import { assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { testKeys } from "../helpers/keys.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { HELLO, messageFrame, RawClient } from "../helpers/raw-client.ts";

const CONTENT = Buffer.alloc(6_000_000, "0123456789abcdef");

async function place(t: Test, { tlsStreams = false } = {}) {
  const dir = t.testdir({ served: {}, "a.bin": CONTENT });
  const served = join(dir, "served");
  const { keys, ticket, tickets } = await testKeys(t);
  const { to, log } = await startServer(t, served, { secure: { ...keys, tlsStreams } });
  const arrived = () => t.ok(readFileSync(join(served, "a.bin")).equals(CONTENT), "byte for byte");
  return { file: join(dir, "a.bin"), to, log, ticket, tickets, arrived };
}

/** One connection on the way, by what its client said first. */
interface Passing {
  readonly isSealed: boolean;
  /** Of those that are sealed, in their order. */
  readonly ordinal: number;
  readonly near: Socket;
  readonly far: Socket;
  readonly up: Buffer[];
}

/** A path that writes down what the client sends; `change` returns what of it goes on, or ends the connection. */
async function wire(
  t: Test,
  to: { host: string; port: number },
  change: (bytes: Buffer, passing: Passing) => Buffer = (bytes) => bytes,
) {
  const all: Passing[] = [];
  const server = createServer((near) => {
    const far = connect(to.port, to.host);
    for (const [one, other] of [[near, far] as const, [far, near] as const]) {
      one.on("error", () => {});
      one.on("close", () => other.destroy());
    }
    far.pipe(near);
    let passing: Passing | undefined;
    near.on("data", (bytes: Buffer) => {
      if (passing === undefined) {
        const isSealed = bytes[0] === SEALED_FIRST_BYTE;
        passing = { isSealed, ordinal: all.filter((one) => one.isSealed).length, near, far, up: [] };
        all.push(passing);
      }
      passing.up.push(bytes);
      const goesOn = change(bytes, passing);
      if (goesOn.length > 0) far.write(goesOn);
    });
  });
  t.teardown(() => server.close());
  return { all, to: await listenAnywhere(server) };
}

const sizeOf = ({ up }: Passing) => up.reduce((sum, { length }) => sum + length, 0);

t.test("streams are sealed, the control connection is TLS, and nothing can be read on the way", async (t) => {
  const { file, to, ticket, arrived } = await place(t);
  const path = await wire(t, to);
  const secure = { ticket: ticket("laptop") };
  assertOk(t, await sendAll({ paths: [file], to: path.to, secure, compress: "none" }));
  arrived();
  t.same(path.all.map(({ isSealed }) => isSealed).sort(), [false, true, true, true, true]);
  const sealed = path.all.filter(({ isSealed }) => isSealed);
  t.ok(sealed.reduce((sum, one) => sum + sizeOf(one), 0) > CONTENT.length, "the content went over them");
  const bytes = Buffer.concat(path.all.flatMap(({ up }) => up));
  for (const secret of ["a.bin", "0123456789abcdef", "HAWSER"]) t.equal(bytes.indexOf(secret), -1, secret);
});

for (const [who, client, server] of [
  ["the client", true, false],
  ["the server", false, true],
] as const) {
  t.test(`where ${who} wants it, each stream is TLS`, async (t) => {
    const { file, to, ticket, arrived } = await place(t, { tlsStreams: server });
    const path = await wire(t, to);
    const secure = { ticket: ticket("laptop"), tlsStreams: client };
    assertOk(t, await sendAll({ paths: [file], to: path.to, secure }));
    arrived();
    t.same(
      path.all.map(({ up }) => up[0]?.[0]),
      [0x16, 0x16, 0x16, 0x16, 0x16],
    );
  });
}

t.test("a stream that is played to the server once more hears nothing, and changes nothing", async (t) => {
  const { file, to, log, ticket, arrived } = await place(t);
  const answers: number[] = [];
  const replays: Promise<void>[] = [];
  let played = 0;
  const path = await wire(t, to, (bytes, { isSealed, ordinal, up }) => {
    if (isSealed && ordinal === 0 && up.length === 4 && played++ === 0) {
      // While its session and the first connection are there, which is when it could do most.
      replays.push(
        RawClient.connect(to).then(async (raw) => {
          raw.write(Buffer.concat(up.slice(0, 3)));
          await raw.closed;
          answers.push(raw.bytes.length);
        }),
      );
    }
    return bytes;
  });
  assertOk(t, await sendAll({ paths: [file], to: path.to, secure: { ticket: ticket("laptop") }, compress: "none" }));
  await Promise.all(replays);
  arrived();
  t.same(answers, [0], "not a byte");
  t.match(await log.until("refused"), { code: "E_ILLEGAL", message: /number that was there before/ });
});

t.test("a copy that comes first takes nothing but the stream's place", async (t) => {
  const { file, to, ticket, arrived } = await place(t);
  let isFirst = true;
  const path = await wire(t, to, (bytes, { isSealed }) => {
    if (!isSealed || !isFirst) return bytes;
    isFirst = false;
    const copy = connect(to.port, to.host);
    copy.on("error", () => {});
    copy.write(bytes);
    t.teardown(() => copy.destroy());
    return bytes;
  });
  assertOk(t, await sendAll({ paths: [file], to: path.to, secure: { ticket: ticket("laptop") } }));
  arrived();
});

/** Does harm to the first sealed stream, behind its opening and ATTACH. */
function firstSealed(harm: (bytes: Buffer, passing: Passing) => Buffer) {
  let done = false;
  return (bytes: Buffer, passing: Passing) => {
    if (done || !passing.isSealed || passing.ordinal !== 1 || passing.up.length < 3) return bytes;
    done = true;
    return harm(bytes, passing);
  };
}

for (const [what, harm] of Object.entries({
  "a flipped bit": (bytes) => {
    const changed = Buffer.from(bytes);
    changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
    return changed;
  },
  "what is left out": (bytes) => bytes.subarray(1),
  "what comes twice": (bytes) => Buffer.concat([bytes, bytes]),
  "a connection that is cut": (bytes, { near, far }) => {
    far.end(bytes);
    near.end();
    return Buffer.alloc(0);
  },
} satisfies Record<string, (bytes: Buffer, passing: Passing) => Buffer>)) {
  t.test(`${what} ends the stream, and another takes its place`, async (t) => {
    const { file, to, ticket, arrived } = await place(t);
    const path = await wire(t, to, firstSealed(harm));
    const secure = { ticket: ticket("laptop") };
    const sent = await sendAll({ paths: [file], to: path.to, secure, compress: "none", chunkBytes: 65536 });
    assertOk(t, sent);
    arrived();
    t.ok(sent.result.retries >= 1, "it was dialled again, or would have been");
  });
}

t.test("a path that lets nothing through that it doesn't know gets TLS", async (t) => {
  const { file, to, ticket, arrived } = await place(t);
  const path = await wire(t, to, (bytes, { isSealed, near, far }) => {
    if (!isSealed) return bytes;
    near.destroy();
    far.destroy();
    return Buffer.alloc(0);
  });
  assertOk(t, await sendAll({ paths: [file], to: path.to, secure: { ticket: ticket("laptop") } }));
  arrived();
  t.ok(path.all.filter(({ isSealed }) => !isSealed).length > 1, "streams over TLS");
});

/** A control connection that was welcomed, and what its streams are dialled with. */
async function welcomed(to: { host: string; port: number }, text: string) {
  const socket = tls.connect({ ...to, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { id, token } = parseTicket(text);
  const channel = channelOf(socket, false);
  const control = RawClient.over(socket).greet();
  const proof = proofOf("HELLO", ticketKeyOf(token), channel.exporter);
  control.say("HELLO", { ...HELLO, ticket: id, proof, seal: ["nothing-known", "aes-128-gcm"] });
  const welcome = await control.next("WELCOME");
  const dials = sealedDials({ channel } as Parameters<typeof sealedDials>[0], welcome);
  if (dials === undefined) throw new Error("the server seals no streams");
  const stream = async (first?: { name: "HELLO" | "ATTACH"; body: object }) => {
    const dialled = async () => {
      const raw = connect(to.port, to.host);
      await once(raw, "connect");
      return raw;
    };
    const sealed = await openSealed(dials.next(), async (reader) => {
      const raw = await dialled();
      raw.on("data", (bytes: Buffer) => {
        for (let at = 0; at < bytes.length; ) {
          const target = reader.target();
          const part = bytes.subarray(at, at + target.length);
          target.set(part);
          reader.advance(part.length);
          at += part.length;
        }
      });
      return raw;
    });
    const client = RawClient.over(sealed as unknown as Socket);
    client.greet();
    if (first !== undefined) client.write(messageFrame(first.name, first.body as never));
    return client;
  };
  const attach = { session: welcome.session, generation: welcome.generation, stream: 0, attempt: 1 };
  return { control, welcome, stream, attach };
}

t.test("a sealed connection is a stream of its own session, and nothing else", async (t) => {
  const { to, ticket } = await place(t);
  const text = ticket("laptop");
  const [one, other] = [await welcomed(to, text), await welcomed(to, text)];
  t.equal(one.welcome.seal, "aes-128-gcm", "what is not known is passed over");
  const good = await one.stream({ name: "ATTACH", body: one.attach });
  t.same(await good.next("ATTACHED"), { stream: 0 }, "without a proof: the keys are one");
  const hello = await one.stream({ name: "HELLO", body: HELLO });
  t.equal(await hello.error(), "E_ILLEGAL");
  const strange = await one.stream({ name: "ATTACH", body: other.attach });
  t.equal(await strange.error(), "E_UNKNOWN_SESSION", "another session, though of the same client");
  for (const { control } of [one, other]) control.end();
});

t.test("the secret goes with its control connection", async (t) => {
  const { to, log, ticket } = await place(t);
  const { control, stream, attach } = await welcomed(to, ticket("laptop"));
  control.socket.destroy();
  await control.closed;
  let isKnown = true;
  while (isKnown) {
    const late = await stream({ name: "ATTACH", body: attach });
    isKnown = await late.next("ATTACHED").then(
      () => true,
      () => false,
    );
    late.socket.destroy();
  }
  t.match(await log.until("refused"), { code: "E_UNKNOWN_SESSION", message: /control connection is not there/ });
});

t.test("a ticket that was revoked opens no more streams", async (t) => {
  const { to, ticket, tickets } = await place(t);
  const { control, stream, attach } = await welcomed(to, ticket("laptop"));
  tickets.revoke("laptop", Date.now());
  const late = await stream({ name: "ATTACH", body: attach });
  t.equal(await late.error(), "E_REVOKED");
  control.end();
});

t.test("who only knows what goes by in the clear gets no answer, and no number is used up", async (t) => {
  const { to, log, ticket } = await place(t);
  const text = ticket("laptop");
  const path = await wire(t, to);
  const { control, stream, attach } = await welcomed(path.to, text);
  const first = await stream({ name: "ATTACH", body: attach });
  await first.next("ATTACHED");
  const opening = Buffer.concat(path.all.find(({ isSealed }) => isSealed)?.up ?? []).subarray(0, SEALED_OPENING_BYTES);
  const forge = async (number: number) => {
    const forged = Buffer.from(opening);
    forged.writeUInt32BE(number, 24);
    const { crc32 } = await import("node:zlib");
    forged.writeUInt32BE(crc32(forged.subarray(0, 28)), 28);
    const raw = await RawClient.connect(to);
    raw.write(Buffer.concat([forged, Buffer.from([0, 0, 0, 8]), Buffer.alloc(24)]));
    await raw.closed;
    return raw.bytes.length;
  };
  t.equal(await forge(1), 0, "the number that comes next");
  t.match(await log.until("refused"), { code: "E_DAMAGED" });
  const second = await stream({ name: "ATTACH", body: { ...attach, stream: 1 } });
  t.same(await second.next("ATTACHED"), { stream: 1 }, "is still its owner's");
  const raw = await RawClient.connect(to);
  const long = Buffer.concat([opening.subarray(0, 24), Buffer.from([0, 0, 0, 9])]);
  const { crc32 } = await import("node:zlib");
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(long));
  raw.write(Buffer.concat([long, crc, Buffer.from([0, 0x10, 0, 0])]));
  await raw.closed;
  t.equal(raw.bytes.length, 0, "nor is a long first record waited for");
  control.end();
});
