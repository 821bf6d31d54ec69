/** Paths between a client and a server, of a rate or of a length. Each runs in the test's own process. */
import { connect, createServer, type Socket } from "node:net";
import type { Test } from "tap";
import { RateLimit } from "../../src/net/rate-limit.ts";
import { listenAnywhere } from "./listening.ts";

interface To {
  readonly host: string;
  readonly port: number;
}

const SLICE_MS = 20;

/** One that carries so many bytes a second to the server, over all its connections together. */
export function narrowPath(t: Test, to: To, bytesPerSecond: number): Promise<To> {
  const limit = new RateLimit(bytesPerSecond);
  return relay(t, to, (client, upstream) => {
    upstream.pipe(client);
    client.on("data", (bytes: Buffer) => {
      client.pause();
      let at = 0;
      const go = () => {
        const slice = bytes.subarray(at, at + limit.sliceBytes(SLICE_MS));
        limit.take(slice.length);
        at += slice.length;
        upstream.write(slice);
        if (at < bytes.length) limit.turn(go);
        else client.resume();
      };
      limit.turn(go);
    });
  });
}

/** One that takes so long each way, and on which each connection has so many bytes on their way at most. */
export function longPath(t: Test, to: To, delayMs: number, windowBytes: number): Promise<To> {
  return relay(t, to, (client, upstream) => {
    for (const [from, into] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      let underWay = 0;
      from.on("data", (bytes: Buffer) => {
        underWay += bytes.length;
        if (underWay >= windowBytes) from.pause();
        setTimeout(() => into.write(bytes), delayMs);
        // The word that it is there takes as long.
        setTimeout(() => {
          underWay -= bytes.length;
          if (underWay < windowBytes) from.resume();
        }, 2 * delayMs);
      });
    }
  });
}

/** A path of which `join` says what passes on it. */
export function relay(t: Test, to: To, join: (client: Socket, upstream: Socket) => void): Promise<To> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(to.port, to.host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
    }
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
    join(client, upstream);
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return listenAnywhere(server);
}
