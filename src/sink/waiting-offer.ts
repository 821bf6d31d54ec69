/**
 * A file that does not fit beside what is under way waits until something of that is settled, or the source is there
 * again, and is looked at again then. One at a time: all that was offered after it waits behind it.
 */
export class WaitingOffer {
  #wake: () => void = () => {};

  /** Something is settled, or said anew: whoever waits looks again. */
  wake(): void {
    this.#wake();
  }

  /** Does `first`, and resolves at the next `wake`, be it while `first` goes on, or when the signal is aborted. */
  async waitAfter(first: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.#wake = wake;
    signal.addEventListener("abort", wake, { once: true });
    await first();
    await woken;
    signal.removeEventListener("abort", wake);
    this.#wake = () => {};
  }
}
