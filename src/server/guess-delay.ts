/**
 * How long an answer to a wrong proof is held back: longer with each from the same address (`networkOf`). A right one is
 * answered at once, whatever others at that address have tried, so that nobody can shut out a neighbour. Pure: time is an
 * argument, by the monotonic clock; what it keeps is bounded.
 */

export interface GuessDelayOptions {
  /** After the first wrong one; each further one doubles it. */
  readonly firstMs?: number;
  readonly mostMs?: number;
  /** Without another wrong one for so long all is forgotten. */
  readonly forgetMs?: number;
  /** Addresses that are remembered. */
  readonly addressesMax?: number;
}

/** A person who mistook a ticket hardly notices. */
const FIRST_MS = 250;
/** Less than a client waits for an answer (10 s), so that an honest one hears why; seven tries a minute. */
const MOST_MS = 8_000;
const FORGET_MS = 3_600_000;
/** Some hundred bytes each. */
const ADDRESSES_MAX = 16_384;

interface Guesses {
  readonly count: number;
  readonly lastMs: number;
}

export class GuessDelay {
  readonly #firstMs: number;
  readonly #mostMs: number;
  readonly #forgetMs: number;
  readonly #addressesMax: number;
  /** Who guessed last comes last. */
  readonly #guesses = new Map<string, Guesses>();

  constructor(options: GuessDelayOptions = {}) {
    this.#firstMs = options.firstMs ?? FIRST_MS;
    this.#mostMs = options.mostMs ?? MOST_MS;
    this.#forgetMs = options.forgetMs ?? FORGET_MS;
    this.#addressesMax = options.addressesMax ?? ADDRESSES_MAX;
  }

  /** One more wrong proof: for how long the answer is to wait. */
  wrong(network: string, nowMs: number): number {
    this.#forget(nowMs);
    const count = (this.#guesses.get(network)?.count ?? 0) + 1;
    this.#guesses.delete(network);
    // In a crowd with more addresses than are remembered each guess costs an address.
    for (const oldest of this.#guesses.keys()) {
      if (this.#guesses.size < this.#addressesMax) break;
      this.#guesses.delete(oldest);
    }
    this.#guesses.set(network, { count, lastMs: nowMs });
    return Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(count - 1, 40));
  }

  /** Addresses that are remembered. */
  get addresses(): number {
    return this.#guesses.size;
  }

  #forget(nowMs: number): void {
    for (const [network, { lastMs }] of this.#guesses) {
      if (nowMs - lastMs < this.#forgetMs) return;
      this.#guesses.delete(network);
    }
  }
}
