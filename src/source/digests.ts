/**
 * Digests of whole files, few at a time: each keeps a disk busy. One that is settled meanwhile is read no further, since
 * whoever reads a file opens it.
 */
import type { ItemDigest } from "./item.ts";
import type { SentFile } from "./sent-file.ts";

/** Files that are read at once, beside what is read to be sent. */
const DIGESTS_MAX = 4;

interface Task {
  readonly file: SentFile;
  readonly onDone: (digest: ItemDigest) => void;
  readonly onFailed: (thrown: unknown) => void;
}

export class Digests {
  readonly #waiting: Task[] = [];
  #running = 0;
  #stopped = false;

  get isRunning(): boolean {
    return this.#running > 0;
  }

  /** Reads a file when its turn comes. Neither callback is called for one that is over by then. */
  add(file: SentFile, onDone: Task["onDone"], onFailed: Task["onFailed"]): void {
    this.#waiting.push({ file, onDone, onFailed });
    this.#next();
  }

  /** Begins nothing more. */
  stop(): void {
    this.#stopped = true;
    this.#waiting.length = 0;
  }

  #next(): void {
    while (this.#running < DIGESTS_MAX) {
      const task = this.#waiting.shift();
      if (task === undefined) return;
      if (task.file.isOver) continue;
      this.#running++;
      void this.#run(task).finally(() => {
        this.#running--;
        this.#next();
      });
    }
  }

  async #run({ file, onDone, onFailed }: Task): Promise<void> {
    let digest: ItemDigest;
    try {
      digest = await file.item.digest(file.over);
    } catch (thrown) {
      if (!file.isOver && !this.#stopped) onFailed(thrown);
      return;
    }
    if (!file.isOver && !this.#stopped) onDone(digest);
  }
}
