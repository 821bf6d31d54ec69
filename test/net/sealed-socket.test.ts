/** What sealed streams that nobody reads keep in memory, and that all of it arrives when somebody does. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t, { type Test } from "tap";
import { SealedSocket } from "../../src/net/sealed-socket.ts";
import { Opener, Sealer } from "../../src/net/sealing.ts";
import { SEALED_RECORD_BYTES_MAX } from "../../src/protocol/limits.ts";
import { listenAnywhere } from "../helpers/listening.ts";

const MIB = 1024 * 1024;
const secret = randomBytes(32);

/** A sealed stream over a real connection, whose far end is not read yet. */
async function stream(t: Test, number: number) {
  const keys = { cipher: "aes-128-gcm", secret, number } as const;
  const server = createServer({ pauseOnConnect: true });
  const to = await listenAnywhere(server);
  const raw = connect(to.port, to.host);
  const [far] = (await once(server, "connection")) as [Socket];
  const near = new SealedSocket(new Sealer(keys, "client"), new Opener(keys, "server"));
  near.attach(raw);
  t.teardown(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  const opener = new Opener(keys, "client");
  const received = async (bytes: number) => {
    const hash = createHash("sha256");
    let left = bytes;
    for await (const came of far) {
      for (const opened of opener.open(came as Buffer)) {
        hash.update(opened);
        left -= opened.length;
      }
      if (left <= 0) break;
    }
    return hash.digest("hex");
  };
  return { near, raw, received };
}

t.test("many streams that are not read have little sealed beside what they were given", async (t) => {
  const streams = await Promise.all(Array.from({ length: 6 }, (_, number) => stream(t, number)));
  const slices = [randomBytes(5), randomBytes(16 * MIB - 5)];
  const sha256 = createHash("sha256").update(Buffer.concat(slices)).digest("hex");
  const written = streams.map(({ near }) => {
    near.cork();
    for (const slice of slices.slice(0, -1)) near.write(slice);
    const done = new Promise((resolve) => near.write(slices.at(-1), resolve));
    near.uncork();
    return done;
  });
  const sealedBytes = () => streams.reduce((sum, { raw }) => sum + raw.writableLength, 0);
  const mostBytes = 8 * MIB + streams.length * (SEALED_RECORD_BYTES_MAX + 1024);
  t.ok(sealedBytes() > 0);
  t.ok(sealedBytes() <= mostBytes, `${sealedBytes()} of at most ${mostBytes}`);
  for (const { received } of streams) {
    t.equal(await received(16 * MIB), sha256);
    t.ok(sealedBytes() <= mostBytes, `${sealedBytes()} of at most ${mostBytes}`);
  }
  await Promise.all(written);
  t.equal(sealedBytes(), 0);
});

t.test("what streams that broke had sealed counts no more", async (t) => {
  const broken = await stream(t, 6);
  broken.near.on("error", () => {});
  broken.near.write(randomBytes(16 * MIB));
  t.ok(broken.raw.writableLength > 7 * MIB);
  broken.raw.destroy();
  await once(broken.near, "close");
  const next = await stream(t, 7);
  next.near.write(randomBytes(16 * MIB));
  t.ok(next.raw.writableLength > 7 * MIB, "as much as when there was none");
});
