/** One at a time for each name: what stands in for link(2)'s atomic answer where there are no hard links. */

export class NameLocks {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `use` when nobody else holds `name`. */
  async hold<T>(name: Uint8Array, use: () => Promise<T>): Promise<T> {
    const key = Buffer.from(name).toString("latin1");
    const before = this.#tails.get(key) ?? Promise.resolve();
    const run = before.then(use);
    const tail = run.then(
      () => {},
      () => {},
    );
    this.#tails.set(key, tail);
    try {
      return await run;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
