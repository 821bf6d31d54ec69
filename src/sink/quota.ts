/**
 * What each client's unfinished parts take on the disk, and how much that may be: the one owner of these counts. A part
 * that is being received counts as all of its file, one that lies as what is there of it, and what is committed no more. Pure.
 */
import { HawserError } from "../protocol/errors.ts";

interface Entry {
  readonly account: string;
  bytes: number;
  /** Nobody is at it. */
  readonly lies: boolean;
}

export class Quota {
  readonly #bytesMax: number;
  /** By the id of the part. */
  readonly #parts = new Map<string, Entry>();
  readonly #accounts = new Map<string, number>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes that the parts of an account take. */
  used(account: string): number {
    return this.#accounts.get(account) ?? 0;
  }

  /** Ids of the parts of an account that lie. */
  lyingOf(account: string): string[] {
    return [...this.#parts].flatMap(([id, part]) => (part.account === account && part.lies ? id : []));
  }

  /** A part is being received that will take so many bytes. Throws E_QUOTA where they don't fit; then all is as it was. */
  reserve(id: string, account: string, bytes: number): void {
    const others = this.used(account) - (this.#parts.get(id)?.bytes ?? 0);
    if (others + bytes > this.#bytesMax) {
      const underWay = this.#underWay(account, id);
      // Another transfer of the same client gives room back when its files are committed; what lies waits to be gone on with.
      const until = underWay === 0 ? "" : `, ${underWay} of them by what is under way: try again when that is done`;
      const taken = others === 0 ? "" : `, of which ${others} are taken${until}`;
      const message = `the file needs ${bytes} bytes, and a client's unfinished files may take ${this.#bytesMax}${taken}`;
      throw new HawserError("E_QUOTA", message);
    }
    this.#set(id, { account, bytes, lies: false });
  }

  /** More came of a part whose size nobody knows. Throws E_QUOTA where that is more than there may be; it counts. */
  grow(id: string, bytes: number): void {
    const entry = this.#parts.get(id);
    if (entry === undefined) return;
    entry.bytes += bytes;
    this.#count(entry.account, bytes);
    if (this.used(entry.account) <= this.#bytesMax) return;
    throw new HawserError(
      "E_QUOTA",
      `a client's unfinished files may take ${this.#bytesMax} bytes, and these take more`,
    );
  }

  /** A part lies, with so many bytes of it there. */
  lay(id: string, account: string, bytes: number): void {
    this.#set(id, { account, bytes, lies: true });
  }

  /** The part is gone: dropped, or committed. Idempotent. */
  release(id: string): void {
    const entry = this.#parts.get(id);
    if (entry === undefined) return;
    this.#parts.delete(id);
    this.#count(entry.account, -entry.bytes);
  }

  /** Bytes of an account's parts that are being received, but for one. */
  #underWay(account: string, but: string): number {
    let bytes = 0;
    for (const [id, part] of this.#parts) if (part.account === account && !part.lies && id !== but) bytes += part.bytes;
    return bytes;
  }

  #set(id: string, entry: Entry): void {
    this.release(id);
    this.#parts.set(id, entry);
    this.#count(entry.account, entry.bytes);
  }

  #count(account: string, bytes: number): void {
    const used = this.used(account) + bytes;
    if (used > 0) this.#accounts.set(account, used);
    else this.#accounts.delete(account);
  }
}
