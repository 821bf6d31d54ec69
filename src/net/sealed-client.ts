/** The client's end of sealed streams: each that is dialled under one control connection gets a number, and so keys, of its own. */
import type { Socket } from "node:net";
import { encodeSealedOpening, type SealCipher } from "../protocol/sealed.ts";
import { sealCiphers } from "./ciphers.ts";
import type { Connection } from "./connection.ts";
import type { DirectReader } from "./direct-read.ts";
import { SealedSocket } from "./sealed-socket.ts";
import { Opener, type SealedKeys, Sealer, secretNameOf } from "./sealing.ts";
import type { Terms } from "./transfer-end.ts";

export { sealCiphers };

/** What the streams of this session are dialled with; undefined where server and client have not agreed on it. */
export function sealedDials({ channel }: Connection, { session, seal }: Terms): SealedDials | undefined {
  const secret = seal === undefined || channel?.kind !== "tls" ? undefined : channel.streamSecret(session);
  return seal === undefined || secret === undefined ? undefined : new SealedDials(secret, seal);
}

export class SealedDials {
  readonly #cipher: SealCipher;
  readonly #secret: Uint8Array;
  readonly #secretName: Uint8Array;
  #numbers = 0;

  constructor(secret: Uint8Array, cipher: SealCipher) {
    this.#cipher = cipher;
    this.#secret = secret;
    this.#secretName = secretNameOf(secret);
  }

  /** What the next stream is sealed with. */
  next(): SealedDial {
    const number = this.#numbers++;
    // A number that comes twice would be a nonce that comes twice.
    if (number > 0xffff_ffff) throw new RangeError("no numbers are left under this secret");
    return { cipher: this.#cipher, secret: this.#secret, number, secretName: this.#secretName };
  }
}

/** What one stream is sealed with, and nothing else ever: plain data, for whichever thread dials it. */
export interface SealedDial extends SealedKeys {
  readonly secretName: Uint8Array;
}

/** A stream over the connection that `dial` makes, reading through what it is given. */
export async function openSealed(
  { secretName, ...keys }: SealedDial,
  dial: (reader: DirectReader) => Promise<Socket>,
): Promise<SealedSocket> {
  const opening = encodeSealedOpening({ secretName, number: keys.number });
  const socket = new SealedSocket(new Sealer(keys, "client"), new Opener(keys, "server"), [], opening);
  socket.attach(await dial(socket));
  return socket;
}
