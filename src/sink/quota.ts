/**
 * What each client's unfinished parts take on the disk, and how much that may be: the one owner of these counts. What is
 * committed counts no more. Pure.
 */
import { HawserError } from "../protocol/errors.ts";

interface Entry {
  readonly account: string;
  bytes: number;
  /** Whether a transfer is at it: then it will be committed, or be found too much. */
  isOpen: boolean;
}

export class Quota {
  readonly #bytesMax: number;
  /** By the id of the part. */
  readonly #parts = new Map<string, Entry>();
  /** The sums of each account: of all its parts, and of those that lie. */
  readonly #accounts = new Map<string, { used: number; kept: number }>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes that the parts of an account take. */
  used(account: string): number {
    return this.#accounts.get(account)?.used ?? 0;
  }

  /** Ids of the parts of an account that lie. */
  keptBy(account: string): string[] {
    return [...this.#parts].flatMap(([id, part]) => (part.account === account && !part.isOpen ? id : []));
  }

  /**
   * Throws E_QUOTA where a part of so many bytes can't fit while those that lie stay. What is under way does not count:
   * it gives its room back with each file that is committed.
   */
  assertFits(id: string, account: string, bytes: number): void {
    const own = this.#parts.get(id);
    const kept = (this.#accounts.get(account)?.kept ?? 0) - (own?.isOpen === false ? own.bytes : 0);
    if (kept + bytes <= this.#bytesMax) return;
    const lie = kept === 0 ? "" : `, of which ${kept} are taken`;
    const message = `the file needs ${bytes} bytes, and a client's unfinished files may take ${this.#bytesMax}${lie}`;
    throw new HawserError("E_QUOTA", message);
  }

  /** A part takes so many bytes now. */
  set(id: string, account: string, bytes: number, isOpen: boolean): void {
    this.release(id);
    const entry = { account, bytes, isOpen };
    this.#parts.set(id, entry);
    this.#count(entry, bytes);
  }

  /** More was written to a part. Throws E_QUOTA where that is more than there may be. */
  grow(id: string, bytes: number): void {
    const entry = this.#parts.get(id);
    if (entry === undefined) return;
    entry.bytes += bytes;
    this.#count(entry, bytes);
    if (this.used(entry.account) > this.#bytesMax) {
      const message = `a client's unfinished files may take ${this.#bytesMax} bytes, and these take more`;
      throw new HawserError("E_QUOTA", message);
    }
  }

  /** Nobody is at the part any more, and it lies. */
  keep(id: string): void {
    const entry = this.#parts.get(id);
    if (entry !== undefined) this.set(id, entry.account, entry.bytes, false);
  }

  /** The part is gone: dropped, or committed. Idempotent. */
  release(id: string): void {
    const entry = this.#parts.get(id);
    if (entry === undefined) return;
    this.#parts.delete(id);
    this.#count(entry, -entry.bytes);
  }

  #count({ account, isOpen }: Entry, bytes: number): void {
    const sums = this.#accounts.get(account) ?? { used: 0, kept: 0 };
    sums.used += bytes;
    if (!isOpen) sums.kept += bytes;
    if (sums.used > 0) this.#accounts.set(account, sums);
    else this.#accounts.delete(account);
  }
}
