/** A relay between a client and a server, from which the first chunk that goes up can be awaited. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { FRAME_TYPES } from "../../src/protocol/header.ts";
import { GREETING_BYTES, HEADER_BYTES } from "../../src/protocol/limits.ts";

/** Where a header says how many bytes follow it. */
const LENGTH_AT = 16;

export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #onChunk: ((nowMs: number) => void) | undefined;

  private constructor(port: number) {
    this.#server = createServer((client) => this.#accept(client, connect({ port, host: "127.0.0.1", noDelay: true })));
  }

  /** Before the server at this port of 127.0.0.1. */
  static start(port: number): Promise<Relay> {
    const relay = new Relay(port);
    return new Promise((resolve, reject) => {
      relay.#server.once("error", reject).listen(0, "127.0.0.1", () => resolve(relay));
    });
  }

  get to(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** When the next first chunk of a stream begins to arrive, by performance.now(). */
  nextChunk(): Promise<number> {
    return new Promise((resolve) => {
      this.#onChunk = resolve;
    });
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(client: Socket, server: Socket): void {
    client.setNoDelay(true);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
    let opening: Buffer | undefined = Buffer.alloc(0);
    client.on("data", (bytes: Buffer) => {
      if (opening === undefined) return;
      const nowMs = performance.now();
      opening = Buffer.concat([opening, bytes]);
      const type = frameAfterFirst(opening);
      if (type === undefined) return;
      opening = undefined;
      if (type === FRAME_TYPES.CHUNK) this.#onChunk?.(nowMs);
    });
  }
}

/** The type of the frame behind the one that opens the connection; undefined while that has not come. */
function frameAfterFirst(bytes: Buffer): number | undefined {
  if (bytes.length < GREETING_BYTES + HEADER_BYTES) return undefined;
  return bytes[GREETING_BYTES + HEADER_BYTES + bytes.readUInt32BE(GREETING_BYTES + LENGTH_AT)];
}
