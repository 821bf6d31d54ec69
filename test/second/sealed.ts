/** PROTOCOL.md, 16 and 17, at a client: a control connection over TLS with a ticket, and streams sealed under its keys. */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from "node:crypto";
import { createConnection, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
import { crc32 } from "node:zlib";
import { type Address, Connection } from "./connection.ts";
import { Breach } from "./errors.ts";
import { greeting } from "./frames.ts";
import type { Fields } from "./msgpack.ts";

const CIPHERS = { "aes-128-gcm": 16, "chacha20-poly1305": 32 } as const;
export type Cipher = keyof typeof CIPHERS;
export type Writer = "client" | "server";
const RECORD_MAX = 262_144;
const STRETCH = 65_536;
const TAG = 16;

const derive = (secret: Buffer, info: string | Buffer, bytes: number) =>
  Buffer.from(hkdfSync("sha256", secret, Buffer.alloc(0), info, bytes));
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export const nameOf = (secret: Buffer) => derive(secret, "hawser 1 stream name", 16);

export function opening(name: Buffer, number: number): Buffer {
  const bytes = Buffer.concat([Buffer.from("\x8aHAWSEAL", "latin1"), name, u32(number)]);
  return Buffer.concat([bytes, u32(crc32(bytes))]);
}

/** One direction of one connection. */
export class Records {
  readonly #of: { readonly secret: Buffer; readonly cipher: Cipher; readonly number: number; readonly writer: Writer };
  #count = 0;
  #came = Buffer.alloc(0);

  constructor(secret: Buffer, cipher: Cipher, number: number, writer: Writer) {
    this.#of = { secret, cipher, number, writer };
  }

  #next(): [cipher: "aes-128-gcm", key: Buffer, nonce: Buffer] {
    const { secret, cipher, number, writer } = this.#of;
    const [stretch, within] = [Math.floor(this.#count / STRETCH), this.#count % STRETCH];
    this.#count += 1;
    const direction = Buffer.from([writer === "client" ? 0 : 1]);
    const info = Buffer.concat([Buffer.from("hawser 1 stream"), direction, u32(number), u32(stretch)]);
    const keys = derive(secret, info, CIPHERS[cipher] + 12);
    const nonce = keys.subarray(CIPHERS[cipher]);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ within) >>> 0, 8);
    // Both ciphers have the same calls; Node's types know only one.
    return [cipher as "aes-128-gcm", keys.subarray(0, CIPHERS[cipher]), nonce];
  }

  seal(content: Buffer): Buffer {
    const records: Buffer[] = [];
    for (let at = 0; at < content.length; at += RECORD_MAX) {
      const part = content.subarray(at, at + RECORD_MAX);
      const cipher = createCipheriv(...this.#next(), { authTagLength: TAG });
      cipher.setAAD(u32(part.length));
      records.push(u32(part.length), cipher.update(part), cipher.final(), cipher.getAuthTag());
    }
    return Buffer.concat(records);
  }

  /** What of all that came is whole. */
  open(bytes: Buffer): Buffer {
    this.#came = Buffer.concat([this.#came, bytes]);
    const opened: Buffer[] = [];
    while (this.#came.length >= 4) {
      const length = this.#came.readUInt32BE(0);
      if (length === 0 || length > RECORD_MAX) throw new Breach("E_DAMAGED", `a record of ${length} bytes`);
      if (this.#came.length < 4 + length + TAG) break;
      const cipher = createDecipheriv(...this.#next(), { authTagLength: TAG });
      cipher.setAAD(this.#came.subarray(0, 4)).setAuthTag(this.#came.subarray(4 + length, 4 + length + TAG));
      try {
        opened.push(cipher.update(this.#came.subarray(4, 4 + length)), cipher.final());
      } catch {
        throw new Breach("E_DAMAGED", "a record that does not open");
      }
      this.#came = this.#came.subarray(4 + length + TAG);
    }
    return Buffer.concat(opened);
  }
}

/** What is said in the same turn of the event loop goes in one record: the greeting and ATTACH. */
function sealedSocket(to: Address, secret: Buffer, cipher: Cipher, number: number): Socket {
  const [up, down] = (["client", "server"] as const).map((writer) => new Records(secret, cipher, number, writer)) as [
    Records,
    Records,
  ];
  const raw = createConnection({ ...to, noDelay: true });
  raw.write(opening(nameOf(secret), number));
  const socket = new Duplex({
    read: () => {},
    writev: (parts, done) => void raw.write(up.seal(Buffer.concat(parts.map(({ chunk }) => chunk as Buffer))), done),
    final: (done) => void raw.end(done),
    destroy: (error, done) => {
      raw.destroy();
      done(error);
    },
  });
  raw.on("data", (bytes) => {
    try {
      const opened = down.open(bytes as Buffer);
      if (opened.length > 0) socket.push(opened);
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
  raw.on("error", (error) => socket.destroy(error));
  raw.on("end", () => socket.push(null));
  raw.on("close", () => socket.destroy());
  socket.cork();
  process.nextTick(() => socket.uncork());
  return socket as unknown as Socket;
}

export interface Secured {
  readonly control: Connection;
  /** For HELLO. */
  readonly hello: Fields;
  /** A stream, after WELCOME. */
  dial(welcome: Fields): Connection;
}

/** Shakes hands with who has the ticket's pin, and says with what HELLO proves that this end has the ticket. */
export async function secured(to: Address, ticketText: string, ciphers: readonly string[]): Promise<Secured> {
  const ticket = Buffer.from(ticketText.slice("hawser1.".length), "base64url");
  const [id, pin, token] = [ticket.subarray(1, 9), ticket.subarray(9, 41), ticket.subarray(41, 73)];
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const tls = connect({ ...to, rejectUnauthorized: false, minVersion: "TLSv1.3" }, () => resolve(tls));
    tls.once("error", reject);
  });
  const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: "spki", format: "der" }) as Buffer;
  if (!createHash("sha256").update(spki).digest().equals(pin)) throw new Breach("E_SERVER_UNPROVEN", "another pin");
  const exporter = socket.exportKeyingMaterial(32, "EXPORTER-hawser-1", Buffer.alloc(0));
  const proof = (message: string) =>
    createHmac("sha256", derive(token, "hawser 1 ticket key", 32))
      .update(Buffer.concat([Buffer.from(`hawser 1 ${message}\0`), exporter]))
      .digest();
  const control = new Connection(socket, { side: "client", role: "source" }, { side: "server", role: "sink" });
  socket.write(greeting());
  let numbers = 0;
  return {
    control,
    hello: { ticket: id, proof: proof("HELLO"), seal: [...ciphers] },
    dial({ session, seal, proof: answer }) {
      if (!(answer as Buffer).equals(proof("WELCOME"))) throw new Breach("E_SERVER_UNPROVEN", "it has no ticket");
      if (!ciphers.includes(seal as string)) throw new Breach("E_ILLEGAL", "nobody offered to seal so");
      const secret = socket.exportKeyingMaterial(32, "EXPORTER-hawser-1-streams", session as Buffer);
      const sealed = sealedSocket(to, secret, seal as Cipher, numbers);
      numbers += 1;
      sealed.write(greeting());
      return new Connection(sealed, { side: "client", role: "source" }, { side: "server", role: "sink" });
    },
  };
}
