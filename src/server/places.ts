/**
 * Which connections there are: each waits to say what it wants, or to be closed; or it has a place, as one of a transfer.
 * So all of them together are bounded, whatever they do.
 */
import type { Failure } from "../protocol/errors.ts";
import type { Admission } from "./admission.ts";
import { WaitingRoom } from "./waiting-room.ts";

interface Closable {
  readonly isOpen: boolean;
  destroy(): void;
}

export class Places<C extends Closable> {
  readonly #admission: Admission;
  readonly #waiting: WaitingRoom<C>;
  /** With the network of each. */
  readonly #all = new Map<C, string>();
  readonly #placed = new Set<C>();

  constructor(admission: Admission) {
    this.#admission = admission;
    const { undecidedMax, undecidedMaxPerPeer } = admission;
    this.#waiting = new WaitingRoom({ max: undecidedMax, maxPerNetwork: undecidedMaxPerPeer });
  }

  get all(): Iterable<C> {
    return this.#all.keys();
  }

  /** Whether it has a place, as one of this network or, where none is named, of any. */
  has(connection: C, network?: string): boolean {
    return this.#placed.has(connection) && (network === undefined || this.#all.get(connection) === network);
  }

  /** A connection came. Somebody else may be closed for it, without a word. */
  enter(connection: C, network: string): void {
    this.#all.set(connection, network);
    this.#wait(connection, network);
  }

  /**
   * It has said what it wants, and is one of a transfer from here on; or there is no place, and why. `isExtra`: its transfer goes
   * on without it.
   */
  take(connection: C, isExtra = false): Failure | undefined {
    const network = this.#all.get(connection);
    if (network === undefined || !connection.isOpen) return { code: "E_LOST", message: "it is gone" };
    if (this.#placed.has(connection)) return undefined;
    const refusal = this.#admission.connect(network, isExtra);
    if (refusal !== undefined) return refusal;
    this.#waiting.leave(network, connection);
    this.#placed.add(connection);
    return undefined;
  }

  /** It was told its last words, and waits for being closed with those that say nothing. */
  retire(connection: C): void {
    const network = this.#all.get(connection);
    if (network === undefined || !this.#placed.delete(connection)) return;
    this.#admission.disconnect(network);
    this.#wait(connection, network);
  }

  /** The same for all that are told so by now. */
  retireClosing(): void {
    for (const connection of [...this.#placed]) if (!connection.isOpen) this.retire(connection);
  }

  /** Its socket is gone. */
  leave(connection: C): void {
    const network = this.#all.get(connection);
    if (network === undefined) return;
    this.#all.delete(connection);
    this.#waiting.leave(network, connection);
    if (this.#placed.delete(connection)) this.#admission.disconnect(network);
  }

  #wait(connection: C, network: string): void {
    this.#waiting.enter(network, connection)?.destroy();
  }
}
