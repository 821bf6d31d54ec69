/** A path that carries so many bytes a second to the server, over all its connections together. */
import { connect, createServer, type Socket } from "node:net";
import type { Test } from "tap";
import { RateLimit } from "../../src/net/rate-limit.ts";
import { listenAnywhere } from "./listening.ts";

const SLICE_MS = 20;

export function narrowPath(t: Test, to: { readonly host: string; readonly port: number }, bytesPerSecond: number) {
  const limit = new RateLimit(bytesPerSecond);
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
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return listenAnywhere(server);
}
