/**
 * The server's end of a sealed stream. It writes nothing before the first record has been opened: only then is it known
 * that the client has the secret, and that nobody plays a connection that was there before once more.
 */
import type { Socket } from "node:net";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { SEALED_FIRST_RECORD_BYTES_MAX } from "../protocol/limits.ts";
import { decodeSealedOpening, type NumbersUsed, SEALED_OPENING_BYTES, type SealCipher } from "../protocol/sealed.ts";
import type { StreamGrant } from "./channel.ts";
import { adoptAccepted } from "./direct-read.ts";
import type { Entrance, Entrant } from "./gate.ts";
import { SealedSocket } from "./sealed-socket.ts";
import { Opener, type SealedKeys, Sealer } from "./sealing.ts";

/** What a server keeps for the streams of a control connection. */
export interface StreamSecret {
  readonly secret: Uint8Array;
  readonly cipher: SealCipher;
  readonly used: NumbersUsed;
  readonly grant: StreamGrant;
}

/** `find`: by the name of the secret, 16 bytes. */
export function sealedEntrance(find: (secretName: Uint8Array) => StreamSecret | undefined): Entrance {
  return (raw, first, entrant) => new Entering(raw, entrant, find).take(first);
}

class Entering {
  readonly #raw: Socket;
  readonly #entrant: Entrant;
  readonly #find: (secretName: Uint8Array) => StreamSecret | undefined;
  #opening: Uint8Array = new Uint8Array(0);
  #found: { readonly stream: StreamSecret; readonly keys: SealedKeys; readonly opener: Opener } | undefined;
  readonly #onData = (bytes: Buffer) => this.take(bytes);

  constructor(raw: Socket, entrant: Entrant, find: (secretName: Uint8Array) => StreamSecret | undefined) {
    this.#raw = raw;
    this.#entrant = entrant;
    this.#find = find;
    raw.on("data", this.#onData);
  }

  take(bytes: Uint8Array): void {
    try {
      this.#take(bytes);
    } catch (thrown) {
      this.#raw.off("data", this.#onData);
      this.#entrant.destroy(asHawserError(thrown));
    }
  }

  #take(bytes: Uint8Array): void {
    const missing = SEALED_OPENING_BYTES - this.#opening.length;
    if (missing > 0) {
      this.#opening = Buffer.concat([this.#opening, bytes.subarray(0, missing)]);
      if (this.#opening.length < SEALED_OPENING_BYTES) return;
    }
    this.#found ??= this.#lookUp();
    const opened = this.#found.opener.open(bytes.subarray(Math.max(0, missing)));
    if (opened.length > 0) this.#enter(this.#found, opened);
  }

  #lookUp() {
    const { secretName, number } = decodeSealedOpening(this.#opening);
    const stream = this.#find(secretName);
    if (stream === undefined) {
      throw new HawserError("E_UNKNOWN_SESSION", "a sealed stream came whose control connection is not there");
    }
    const keys = { cipher: stream.cipher, secret: stream.secret, number };
    return { stream, keys, opener: new Opener(keys, "client", SEALED_FIRST_RECORD_BYTES_MAX) };
  }

  #enter(
    { stream, keys, opener }: { readonly stream: StreamSecret; readonly keys: SealedKeys; readonly opener: Opener },
    opened: readonly Uint8Array[],
  ): void {
    const raw = this.#raw;
    raw.off("data", this.#onData);
    if (!stream.used.use(keys.number)) throw played();
    const sealed = new SealedSocket(new Sealer(keys, "server"), opener, opened);
    const direct = adoptAccepted(raw, sealed);
    if (direct === undefined) raw.on("data", (bytes: Buffer) => sealed.receive(bytes) || raw.pause());
    sealed.attach(direct ?? raw);
    this.#entrant.attach(sealed, false, { kind: "sealed", grant: stream.grant });
  }
}

function played(): HawserError {
  return new HawserError("E_ILLEGAL", "a sealed stream came with a number that was there before");
}
