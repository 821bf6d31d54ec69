/**
 * Digests of a file's chunks, by the chunk's number: what is kept beside the CRCs of a ledger where a CRC is not enough.
 * In pages that are made when first needed and let go when empty. Pure.
 */
import { CHUNK_DIGEST_BYTES } from "./limits.ts";

const PAGE_CHUNKS = 1024;

interface Page {
  readonly bytes: Uint8Array;
  readonly present: Set<number>;
}

export class ChunkDigests {
  readonly #pages = new Map<number, Page>();
  #size = 0;

  /** How many chunks have one. */
  get size(): number {
    return this.#size;
  }

  set(chunk: number, digest: Uint8Array): void {
    const index = Math.floor(chunk / PAGE_CHUNKS);
    let page = this.#pages.get(index);
    if (page === undefined) {
      page = { bytes: new Uint8Array(PAGE_CHUNKS * CHUNK_DIGEST_BYTES), present: new Set() };
      this.#pages.set(index, page);
    }
    const at = chunk % PAGE_CHUNKS;
    if (!page.present.has(at)) this.#size++;
    page.present.add(at);
    page.bytes.set(digest.subarray(0, CHUNK_DIGEST_BYTES), at * CHUNK_DIGEST_BYTES);
  }

  get(chunk: number): Uint8Array | undefined {
    const page = this.#pages.get(Math.floor(chunk / PAGE_CHUNKS));
    const at = chunk % PAGE_CHUNKS;
    if (page === undefined || !page.present.has(at)) return undefined;
    return page.bytes.subarray(at * CHUNK_DIGEST_BYTES, (at + 1) * CHUNK_DIGEST_BYTES);
  }

  /** Returns whether there was one. */
  delete(chunk: number): boolean {
    const index = Math.floor(chunk / PAGE_CHUNKS);
    const page = this.#pages.get(index);
    if (page?.present.delete(chunk % PAGE_CHUNKS) !== true) return false;
    this.#size--;
    if (page.present.size === 0) this.#pages.delete(index);
    return true;
  }

  clear(): void {
    this.#pages.clear();
    this.#size = 0;
  }
}
