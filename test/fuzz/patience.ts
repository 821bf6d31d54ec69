/**
 * How long a changed conversation waits for the other end. What it waits for may never come, and no event says so: time
 * is all there is to go by. Once it has run out nothing is waited for any more.
 */
export class Patience {
  #patienceMs: number;
  #wake: () => void = () => {};

  /** For one wait. */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /** Something has happened that `until` may wait for. */
  wake(): void {
    this.#wake();
  }

  async until(holds: () => boolean): Promise<void> {
    const untilMs = performance.now() + this.#patienceMs;
    while (!holds()) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) {
        this.#patienceMs = 0;
        return;
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
