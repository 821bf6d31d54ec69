/** How a sealed stream comes in: in whatever pieces its first bytes arrive, and what is kept of one that never gets on. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t, { type Test } from "tap";
import type { Carrier, Channel } from "../../src/net/channel.ts";
import { type Entrant, gateOf } from "../../src/net/gate.ts";
import { sealedEntrance } from "../../src/net/sealed-server.ts";
import { SealedSocket } from "../../src/net/sealed-socket.ts";
import { Opener, Sealer, secretNameOf } from "../../src/net/sealing.ts";
import type { HawserError } from "../../src/protocol/errors.ts";
import { SEALED_RECORD_BYTES_MAX } from "../../src/protocol/limits.ts";
import { encodeSealedOpening, NumbersUsed, SEALED_OPENING_BYTES } from "../../src/protocol/sealed.ts";
import { listenAnywhere } from "../helpers/listening.ts";

const secret = Uint8Array.from({ length: 32 }, (_, i) => i);
const grant = { peer: "laptop", session: new Uint8Array(16) };
const cipher = "aes-128-gcm";

type Entered = { readonly socket: Carrier; readonly channel: Channel | undefined };

/** A connection through a gate: both ends, and what the gate makes of it. */
async function atGate(t: Test) {
  const used = new NumbersUsed();
  const gate = gateOf({
    tls: () => t.fail("not TLS"),
    sealed: sealedEntrance(() => ({ secret, cipher, used, grant })),
  });
  const server = createServer({ pauseOnConnect: true });
  const to = await listenAnywhere(server);
  const near = connect(to.port, to.host).setNoDelay();
  const [far] = (await once(server, "connection")) as [Socket];
  const entered = Promise.withResolvers<Entered>();
  let refused: HawserError | undefined;
  const entrant: Entrant = {
    hold: () => {},
    attach: (socket, _, channel) => entered.resolve({ socket, channel }),
    destroy: (error) => {
      refused = error;
      far.destroy();
    },
  };
  gate(far, entrant);
  t.teardown(async () => {
    near.destroy();
    far.destroy();
    server.close();
  });
  const sealer = new Sealer({ cipher, secret, number: 0 }, "client");
  const opening = encodeSealedOpening({ secretName: secretNameOf(secret), number: 0 });
  const record = (content: Uint8Array) => Buffer.concat(sealer.seal([content]));
  /** Sends a piece, and waits until the gate has it, which reads nothing else meanwhile. */
  const send = async (bytes: Uint8Array) => {
    const before = far.bytesRead;
    near.write(bytes);
    while (far.bytesRead < before + bytes.length) await new Promise(setImmediate);
  };
  return { near, far, opening, record, send, entered: entered.promise, refused: () => refused, used };
}

t.test("in single bytes", async (t) => {
  const { near, opening, record, send, entered, refused } = await atGate(t);
  const bytes = Buffer.concat([opening, record(Buffer.from("hawser"))]);
  for (const byte of bytes.subarray(0, -1)) await send(Uint8Array.of(byte));
  near.write(bytes.subarray(-1));
  const { socket, channel } = await entered;
  t.match(channel, { kind: "sealed", grant });
  const [came] = await once(socket, "data");
  t.equal(String(came), "hawser");
  t.equal(refused(), undefined);
  socket.destroy();
});

t.test("cut in two anywhere, and all at once", async (t) => {
  for (let at = 0; at <= SEALED_OPENING_BYTES + 26; at++) {
    const { near, opening, record, send, entered } = await atGate(t);
    const bytes = Buffer.concat([opening, record(Buffer.from("hawser"))]);
    if (at > 0 && at < bytes.length) await send(bytes.subarray(0, at));
    near.write(at < bytes.length ? bytes.subarray(at) : bytes);
    const { socket } = await entered;
    const [came] = await once(socket, "data");
    if (String(came) !== "hawser") t.fail(`cut at ${at}`);
    socket.destroy();
  }
});

t.test("an opening and nothing more gets nothing, uses nothing up, and goes with its connection", async (t) => {
  const { near, far, opening, send, used } = await atGate(t);
  await send(opening);
  t.equal(used.has(0), false);
  near.end();
  await once(far, "close");
  t.equal(near.bytesRead, 0);
});

t.test("who is not read is not read on: what waits is little more than a record", async (t) => {
  const sealer = new Sealer({ cipher, secret, number: 1 }, "client");
  const socket = new SealedSocket(
    new Sealer({ cipher, secret, number: 1 }, "server"),
    new Opener({ cipher, secret, number: 1 }, "client"),
  );
  socket.on("data", () => {});
  socket.pause();
  const small = Buffer.alloc(SEALED_RECORD_BYTES_MAX / 4);
  let bytes = 0;
  let more = true;
  while (more) {
    for (const piece of sealer.seal([small])) more = socket.receive(piece) && more;
    bytes += small.length;
  }
  t.ok(bytes <= SEALED_RECORD_BYTES_MAX / 2, `${bytes} bytes were taken though nobody reads`);
  socket.destroy();
});

t.test("a write of nothing is done, too", async () => {
  const server = createServer((far) => far.resume());
  const to = await listenAnywhere(server);
  const raw = connect(to.port, to.host);
  await once(raw, "connect");
  const keys = { cipher, secret, number: 2 } as const;
  const socket = new SealedSocket(new Sealer(keys, "client"), new Opener(keys, "server"));
  socket.attach(raw);
  await new Promise((done) => socket.write(new Uint8Array(0), done));
  socket.destroy();
  server.close();
});
