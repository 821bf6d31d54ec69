/** What the streams of a link are sealed with, and which of them come over TLS, because sealed ones were not answered. */
import type { Connection } from "../net/connection.ts";
import type { SealedDial, SealedDials } from "../net/sealed-client.ts";
import type { Terms } from "../net/transfer-end.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { SealCipher } from "../protocol/sealed.ts";
import type { ClientIdentity } from "./handshake.ts";

/** Who hears one of these was understood, or has reached nobody: TLS would fare no better. */
const NOT_THE_PATH = new Set<ErrorCode>(["E_BUSY", "E_UNKNOWN_SESSION", "E_SHUTTING_DOWN", "E_UNREACHABLE"]);

export class Seals {
  readonly #wanted: boolean;
  #module: typeof import("../net/sealed-client.ts") | undefined;
  /** Of the control connection that is there now. */
  #dials: SealedDials | undefined;
  /** Some paths let TLS through and nothing that they don't know: streams whose sealed dial failed are TLS the next time. */
  readonly #unanswered = new Set<number>();

  constructor(identity: ClientIdentity | undefined) {
    this.#wanted = identity !== undefined && identity.tlsStreams !== true;
  }

  /** What the server is offered; undefined where streams are plain, or TLS. */
  async offer(): Promise<readonly SealCipher[] | undefined> {
    if (!this.#wanted) return undefined;
    // What encrypts needs time to load, and is loaded where it is used.
    this.#module = await import("../net/sealed-client.ts");
    return this.#module.sealCiphers();
  }

  /** The server answered on this control connection: streams that are dialled from now on have its keys. */
  agreed(control: Connection, terms: Terms): void {
    this.#dials = this.#module?.sealedDials(control, terms);
  }

  /** What this dial of a stream is sealed with. */
  of(stream: number): SealedDial | undefined {
    return this.#unanswered.delete(stream) ? undefined : this.#dials?.next();
  }

  /** A dial failed that was sealed with `dial`, and so it is known why. */
  failed(stream: number, dial: SealedDial | undefined, why: ErrorCode): void {
    if (dial !== undefined && !NOT_THE_PATH.has(why)) this.#unanswered.add(stream);
  }
}
