/** Whole files that lie at the sink, read here: to be compared with what the source offers, or read back for it. */
import { asHawserError, type Failure } from "../protocol/errors.ts";
import { Limiter } from "./limiter.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { Settlement } from "./settlement.ts";
import type { ExistingFile, Sink } from "./sink.ts";

export interface ComparisonOwner {
  /** The files that are open, by their index. */
  readonly files: ReadonlyMap<number, ReceivedFile>;
  readonly sink: Sink;
  readonly settlement: Settlement;
  /** The session is over. */
  readonly signal: AbortSignal;
  /** What has its name is not the same. */
  onDifferent(file: ReceivedFile, existing: ExistingFile): void;
  /** A file can't be received. */
  giveUp(index: number, failure: Failure): void;
}

/** Comparisons at once: each reads a whole file. */
const COMPARISONS_MAX = 4;

export class Comparison {
  readonly #owner: ComparisonOwner;
  readonly #turns = new Limiter(COMPARISONS_MAX);
  #running = 0;

  constructor(owner: ComparisonOwner) {
    this.#owner = owner;
  }

  get isRunning(): boolean {
    return this.#running > 0;
  }

  /** The source tells the digest of its file, as it was asked. */
  onDigest(index: number, theirs: Uint8Array): void {
    const { files, signal, settlement } = this.#owner;
    const file = files.get(index);
    const [first, ...others] = file?.candidates ?? [];
    if (file === undefined || first === undefined) return;
    file.candidates = [];
    this.#running++;
    this.#turns
      .run(() => findSame([first, ...others], theirs, signal))
      .finally(() => this.#running--)
      .then(
        (same) => {
          if (file.phase !== "comparing") return;
          if (same !== undefined) settlement.unchanged(file, same.size ?? 0);
          else this.#owner.onDifferent(file, first);
        },
        (thrown) => {
          if (!signal.aborted) this.#owner.giveUp(index, asHawserError(thrown).toFailure());
        },
      );
  }

  /** Who wants every file read back wants it of one too that an earlier run has committed. */
  async verifyCommitted(file: ReceivedFile, size: number, crc32: number): Promise<void> {
    const { sink, signal, settlement } = this.#owner;
    this.#running++;
    try {
      file.blake3 = await this.#turns.run(async () => {
        const existing = await sink.find(file.offer.name);
        return existing?.digest(signal);
      });
      if (!signal.aborted) settlement.committed(file, size, crc32);
    } catch (thrown) {
      if (!signal.aborted) this.#owner.giveUp(file.index, asHawserError(thrown).toFailure());
    } finally {
      this.#running--;
    }
  }
}

async function findSame(
  candidates: readonly ExistingFile[],
  digest: Uint8Array,
  signal: AbortSignal,
): Promise<ExistingFile | undefined> {
  for (const candidate of candidates) {
    if (Buffer.compare(await candidate.digest(signal), digest) === 0) return candidate;
  }
  return undefined;
}
