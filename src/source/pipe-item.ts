/** Standard input, or another pipe, as a file that a transfer offers: of unknown size, read once, never resumed. */
import { formatCrc32 } from "../protocol/crc32.ts";
import { HawserError } from "../protocol/errors.ts";
import { Feed } from "./feed.ts";
import type { Input } from "./input.ts";
import type { ItemDigest, SourceItem } from "./item.ts";
import type { ReaderDescriptor } from "./reader.ts";

export interface Expected {
  readonly bytes?: number | undefined;
  readonly crc32?: number | undefined;
}

const SHOWN_NAME = "the input";

export class PipeItem implements SourceItem {
  readonly name: Uint8Array;
  readonly size = null;
  readonly mtime: [number, number];
  /** Of which the sink's own mask takes away, as for a file that a shell makes. */
  readonly mode = 0o666;
  readonly key = undefined;
  readonly feed: Feed;
  readonly #expectedCrc32: number | undefined;

  /** `nowMs`: milliseconds since 1970. */
  constructor(input: Input, name: Uint8Array, expected: Expected, nowMs: number) {
    this.name = name;
    this.mtime = [Math.floor(nowMs / 1000), (nowMs % 1000) * 1_000_000];
    this.feed = new Feed(input, SHOWN_NAME, expected.bytes);
    this.#expectedCrc32 = expected.crc32;
  }

  open(): ReaderDescriptor {
    return { kind: "kept", feed: this.feed };
  }
  assertUnchanged(): void {}
  assertExpected(crc32: number): void {
    if (this.#expectedCrc32 === undefined || this.#expectedCrc32 === crc32) return;
    const message = `${SHOWN_NAME} has the CRC-32 ${formatCrc32(crc32)}, and ${formatCrc32(this.#expectedCrc32)} was expected`;
    throw new HawserError("E_CONTENT", message);
  }
  read(): Promise<number> {
    return Promise.reject(new HawserError("E_ILLEGAL", "what is read once is not read again"));
  }
  digest(): Promise<ItemDigest> {
    return Promise.reject(new HawserError("E_ILLEGAL", "what is read once has no digest before it is sent"));
  }
  close(): void {
    this.feed.close();
  }
}
