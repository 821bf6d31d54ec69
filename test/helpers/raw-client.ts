/** A client that says what it likes: legal frames, illegal ones and plain bytes, and writes down what comes back. */
import { connect, type Socket } from "node:net";
import { bundleTableBytes, encodeBundleTable } from "../../src/protocol/bundle.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { FrameDecoder, SLACK_BYTES } from "../../src/protocol/decoder.ts";
import { errorCodeOf } from "../../src/protocol/errors.ts";
import { encodeGreeting, type VersionRange } from "../../src/protocol/greeting.ts";
import { encodeHeader, isData, type MessageName } from "../../src/protocol/header.ts";
import { decodeMessage, encodeMessage, type Message } from "../../src/protocol/messages.ts";

export const HELLO: Message<"HELLO"> = {
  agent: "raw/1",
  role: "source",
  purpose: "transfer",
  streams: 4,
  chunkBytes: 65536,
};

/** A control frame with a right header and a right CRC, whatever its payload is. */
export function frameOf(name: MessageName, payload: Uint8Array): Buffer {
  const header = encodeHeader({
    name,
    file: 0,
    offset: 0,
    payloadBytes: payload.length,
    payloadCrc32: crc32(payload),
  });
  return Buffer.concat([header, payload]);
}

export const messageFrame = <N extends MessageName>(name: N, body: Message<N>): Buffer =>
  frameOf(name, encodeMessage(name, body));

export const chunkHeader = (file: number, offset: number, payload: Uint8Array, payloadBytes = payload.length): Buffer =>
  Buffer.from(encodeHeader({ name: "CHUNK", file, offset, payloadBytes, payloadCrc32: crc32(payload) }));

/** The payload of a BUNDLE; a length or a CRC-32 that is given stands in the table in place of the right one. */
export function bundleOf(
  files: readonly { file: number; content: Uint8Array; bytes?: number; crc32?: number }[],
): Uint8Array {
  const table = new Uint8Array(bundleTableBytes(files.length));
  encodeBundleTable(
    files.map(({ file, content, bytes = content.length, crc32: crc = crc32(content) }) => ({
      file,
      bytes,
      crc32: crc,
    })),
    table,
  );
  return new Uint8Array(Buffer.concat([table, ...files.map(({ content }) => content)]));
}

interface Came {
  readonly name: MessageName;
  readonly body: unknown;
}

export class RawClient {
  readonly socket: Socket;
  /** All that came, frames and bytes. */
  readonly came: Came[] = [];
  readonly bytes: Buffer[] = [];
  versions: VersionRange | undefined;
  #inbox: Came[] = [];
  #waiting = new Set<() => void>();
  #closed = false;
  /** The connection is gone: `clean` when the server ended it, and did not drop it. */
  readonly closed: Promise<{ readonly clean: boolean }>;

  private constructor(socket: Socket) {
    this.socket = socket;
    const decoder = new FrameDecoder({
      admit: (header) => new Uint8Array(header.payloadBytes + SLACK_BYTES),
      onGreeting: (versions) => {
        this.versions = versions;
      },
      onFrame: ({ header: { name }, payload }) => {
        if (isData(name)) return;
        const came = { name, body: decodeMessage(name, payload) };
        this.came.push(came);
        this.#inbox.push(came);
        this.#look();
      },
    });
    let foreign = false;
    socket.on("data", (bytes: Buffer) => {
      this.bytes.push(bytes);
      if (foreign) return;
      try {
        decoder.push(bytes);
      } catch {
        foreign = true;
      }
    });
    this.closed = new Promise((resolve) => {
      socket.on("error", () => {});
      socket.on("close", (failed) => {
        this.#closed = true;
        this.#look();
        resolve({ clean: !failed });
      });
    });
  }

  static connect(to: { host: string; port: number }, localAddress?: string): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ ...to, ...(localAddress === undefined ? {} : { localAddress }), noDelay: true });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new RawClient(socket));
      });
    });
  }

  /** The same over a connection that somebody else has opened, or accepted. */
  static over(socket: Socket): RawClient {
    return new RawClient(socket);
  }

  write(...bytes: Uint8Array[]): this {
    this.socket.write(Buffer.concat(bytes));
    return this;
  }
  greet(versions?: VersionRange): this {
    return this.write(encodeGreeting(versions));
  }
  say<N extends MessageName>(name: N, body: Message<N>): this {
    return this.write(messageFrame(name, body));
  }
  chunk(file: number, offset: number, payload: Uint8Array): this {
    return this.write(chunkHeader(file, offset, payload), payload);
  }

  bundle(payload: Uint8Array, file = 0): this {
    const crc = crc32(payload);
    return this.write(
      Buffer.from(encodeHeader({ name: "BUNDLE", file, offset: 0, payloadBytes: payload.length, payloadCrc32: crc })),
      payload,
    );
  }

  /** The next message of this name; what comes before it is passed over. Fails when the connection ends first. */
  next<N extends MessageName>(name: N): Promise<Message<N>> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const at = this.#inbox.findIndex((came) => came.name === name);
        const found = this.#inbox[at];
        if (found !== undefined) this.#inbox = this.#inbox.slice(at + 1);
        else if (!this.#closed) return;
        this.#waiting.delete(look);
        if (found !== undefined) resolve(found.body as Message<N>);
        else reject(new Error(`the connection ended before ${name}; there came ${JSON.stringify(this.came)}`));
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** The code of the ERROR that ends this connection. */
  async error(): Promise<string> {
    const { code } = await this.next("ERROR").catch(() => ({ code: -1 }));
    return code === -1 ? "closed without ERROR" : errorCodeOf(code);
  }

  text(): string {
    return Buffer.concat(this.bytes).toString("latin1");
  }

  end(): void {
    this.socket.destroy();
  }

  #look(): void {
    for (const look of [...this.#waiting]) look();
  }
}

/** A control connection with its session. */
export async function openSession(
  to: { host: string; port: number },
  hello: Partial<Message<"HELLO">> = {},
): Promise<{ readonly control: RawClient; readonly terms: Message<"WELCOME"> }> {
  const control = await RawClient.connect(to);
  control.greet().say("HELLO", { ...HELLO, ...hello });
  return { control, terms: await control.next("WELCOME") };
}

export async function openStream(
  to: { host: string; port: number },
  session: Uint8Array,
  stream = 0,
  localAddress?: string,
  again: { readonly generation?: number; readonly attempt?: number } = {},
): Promise<RawClient> {
  const raw = await RawClient.connect(to, localAddress);
  raw.greet().say("ATTACH", { session, generation: 1, stream, attempt: 1, ...again });
  await raw.next("ATTACHED");
  return raw;
}

export const offered = (file: number, name: string | Uint8Array, size: number | null) => ({
  file,
  name: typeof name === "string" ? Buffer.from(name) : name,
  size,
  mtime: [1_700_000_000, 0] as [number, number],
  mode: 0o644,
});
