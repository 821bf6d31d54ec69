/** How files come to their end: committed, found unchanged, failed. What of a failed one is worth keeping stays. */
import { formatCrc32 } from "../protocol/crc32.ts";
import { asHawserError, ERRORS, type ErrorCode, type Failure, HawserError, wireFailureOf } from "../protocol/errors.ts";
import type { SettledFile } from "../protocol/messages.ts";
import type { Checkpoints } from "./checkpoints.ts";
import { digestOf } from "./content-digest.ts";
import { ReadBackError, SyncError } from "./durable.ts";
import { Limiter } from "./limiter.ts";
import type { SettledRecord } from "./outcome-queue.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { SessionStore } from "./session-store.ts";
import type { Committed, Part } from "./sink.ts";
import { hexOf, type Owner, type Unfinished } from "./unfinished.ts";

/** Commits at once: each waits for the disk, and holds a few descriptors while it does. */
const COMMITS_MAX = 16;

/** Trying again can help, but not with what is here: it was not what it should be. */
const WORTHLESS = new Set<ErrorCode>(["E_CONTENT", "E_SOURCE_CHANGED"]);

export interface SettlementOptions {
  readonly store: SessionStore;
  readonly unfinished: Unfinished;
  readonly owner: Owner;
  readonly checkpoints: Checkpoints;
  /** Whether what a commit would put in place is there already. */
  readonly isStill: (file: ReceivedFile) => Promise<boolean>;
  /** Every file is read back before it is committed. */
  readonly verifies: boolean;
  readonly signal: AbortSignal;
  readonly onSettled: (file: ReceivedFile, record: SettledRecord) => void;
}

export class Settlement {
  readonly #options: SettlementOptions;
  readonly #commits = new Limiter(COMMITS_MAX);
  readonly #failures = new Set<Promise<void>>();
  #committing = 0;

  constructor(options: SettlementOptions) {
    this.#options = options;
  }

  /** Commits under way. */
  get committing(): number {
    return this.#committing;
  }

  /** Resolves when nothing is being settled. */
  async idle(): Promise<void> {
    while (this.#failures.size > 0) await Promise.all(this.#failures);
  }

  /** Commits a file that is whole (see ReceivedFile.isWhole). */
  commit(file: ReceivedFile): void {
    const { size, crc32 } = file.seal ?? { size: 0, crc32: 0 };
    const ours = file.ledger.wholeCrc32();
    if (ours !== crc32) {
      const message = `what arrived has the CRC-32 ${formatCrc32(ours)}, what was read ${formatCrc32(crc32)}`;
      this.fail(file, { code: "E_CONTENT", message });
      return;
    }
    file.phase = "settling";
    this.#committing++;
    this.#track(
      this.#commits
        .run(() => this.#commit(file, size, crc32))
        .finally(() => this.#committing--)
        .then(
          (isUnchanged) => (isUnchanged ? this.unchanged(file, size) : this.committed(file, size, crc32)),
          async (thrown) => {
            // It was not begun yet: another run goes on with the part.
            if (this.#options.signal.aborted && thrown === this.#options.signal.reason) return;
            await this.#commitFailed(file, thrown);
          },
        ),
    );
  }

  committed(file: ReceivedFile, size: number, crc32: number): void {
    file.phase = "settling";
    const blake3 = file.blake3 === undefined ? {} : { blake3: file.blake3 };
    const changes = { ...changesOf(file.outcome), ...blake3 };
    this.#settle(file, { file: file.index, status: "committed", size, crc32, ...changes }, undefined, file.id);
  }

  /** It is only said what would be done. */
  planned(file: ReceivedFile): void {
    file.phase = "settling";
    const { index, offer, outcome } = file;
    this.#settle(file, { file: index, status: "planned", size: offer.size ?? 0, ...changesOf(outcome) }, undefined);
  }

  unchanged(file: ReceivedFile, size: number): void {
    file.phase = "settling";
    this.#track(
      this.#discard(file).then(() => this.#settle(file, { file: file.index, status: "unchanged", size }, undefined)),
    );
  }

  /** The file can't be received. Of no effect on one whose outcome is being made. */
  fail(file: ReceivedFile, failure: Failure): void {
    if (file.phase === "settling") return;
    file.phase = "settling";
    this.#track(this.#fail(file, failure, this.#isWorthKeeping(file, failure)));
  }

  /** A sync failed: nothing counts that came since the last one that succeeded. */
  failSync(file: ReceivedFile, failure: Failure): void {
    if (file.phase === "settling") return;
    file.phase = "settling";
    this.#track(this.#failSync(file, failure));
  }

  /** Returns whether there was nothing to be done. */
  async #commit(file: ReceivedFile, size: number, crc32: number): Promise<boolean> {
    const { store, checkpoints, unfinished, owner, verifies } = this.#options;
    const { id, part } = file;
    if (part === undefined) return false;
    if (verifies) await this.#verify(file, part, size);
    if (await this.#options.isStill(file)) return true;
    // First the intent: after a crash it tells whether what lies under the name is this file.
    if (id !== undefined) await store.beginCommit(id, { size, crc32, fingerprint: part.fingerprint });
    file.outcome = await part.commit(size, crc32);
    await checkpoints.forget(file);
    // The file is there, whether or not that can be written down.
    if (id !== undefined) await store.endCommit(id, true).catch(() => {});
    await unfinished.supersede(owner, { name: file.offer.name, id }).catch(() => {});
    return false;
  }

  /** What the part holds must be what the source read last. Throws E_CONTENT. */
  async #verify(file: ReceivedFile, part: Part, size: number): Promise<void> {
    const ours = await digestOf(part, size, this.#options.signal);
    const theirs = file.seal?.blake3;
    if (theirs === undefined || Buffer.compare(ours, theirs) !== 0) {
      const message = `what was written has the BLAKE3 ${hexOf(ours)} when it is read back, what was read ${hexOf(theirs ?? [])}`;
      throw new HawserError("E_CONTENT", message);
    }
    file.blake3 = ours;
  }

  async #commitFailed(file: ReceivedFile, thrown: unknown): Promise<void> {
    const failure = asHawserError(thrown).toFailure();
    if (file.id !== undefined) await this.#options.store.endCommit(file.id, false).catch(() => {});
    if (thrown instanceof ReadBackError) await this.#fail(file, failure, false);
    else if (thrown instanceof SyncError) await this.#failSync(file, failure);
    else await this.#fail(file, failure, this.#isWorthKeeping(file, failure));
  }

  async #failSync(file: ReceivedFile, failure: Failure): Promise<void> {
    const { store, checkpoints } = this.#options;
    await checkpoints.forget(file);
    let left = 0;
    if (file.id !== undefined) {
      try {
        await store.forgetChunks(file.id, "unsynced");
        left = (await store.chunks(file.id)).length;
      } catch {
        // What can't be told apart is not trusted.
      }
    }
    await this.#fail(file, failure, left > 0);
  }

  /** The part goes, or is let go, before the outcome: whoever hears of it finds staging as it will be. */
  async #fail(file: ReceivedFile, failure: Failure, keep: boolean): Promise<void> {
    if (keep) {
      await this.#options.checkpoints.flush();
      await file.part?.close();
    } else {
      await this.#options.checkpoints.forget(file);
      await this.#discard(file);
    }
    this.#settle(file, { file: file.index, status: "failed", error: wireFailureOf(failure) }, failure);
  }

  #isWorthKeeping(file: ReceivedFile, { code }: Failure): boolean {
    // What an earlier run left of a file that is not even begun now is not this failure's to judge.
    if (file.part === undefined) return !WORTHLESS.has(code);
    // Nobody would know it again.
    if (file.id === undefined) return false;
    return ERRORS[code].retryable && !WORTHLESS.has(code) && file.ledger.chunksPresent > 0;
  }

  async #discard(file: ReceivedFile): Promise<void> {
    await file.part?.abort();
    if (file.id === undefined) return;
    // What can't be forgotten now goes with the session.
    await this.#options.unfinished.discard({ id: file.id, partId: file.partId ?? "" }).catch(() => {});
  }

  #settle(file: ReceivedFile, outcome: SettledFile, failure: Failure | undefined, storedId?: number): void {
    this.#options.unfinished.unclaim(this.#options.owner, file.offer);
    this.#options.onSettled(file, { outcome, name: file.offer.name, failure, storedId });
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#failures.delete(tracked));
    this.#failures.add(tracked);
  }
}

/** What an outcome says of a commit, besides what was offered. */
export function changesOf({ name, replaced }: Committed = {}): Pick<SettledFile, "name" | "replaces"> {
  return { ...(name === undefined ? {} : { name }), ...(replaced ? { replaces: true } : {}) };
}
