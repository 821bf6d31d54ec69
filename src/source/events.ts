/** What happens at the source, told to whoever runs the transfer. */
import type { HawserError } from "../protocol/errors.ts";
import type { Message, SettledFile } from "../protocol/messages.ts";
import type { SmallEntry, SourceEntry } from "./entry.ts";
import type { SourceItem } from "./item.ts";
import type { SentAs } from "./stream.ts";

export interface SourceEvents {
  /** Something was found that is offered, or that can't or need not be. */
  onFound?(entry: SourceEntry): void;
  /** There is no more to be found. */
  onAllFound?(): void;
  /** A file got its outcome. */
  onSettled(settled: SettledItem): void;
  /** The size of a file that was read from a pipe is known now. */
  onSized?(bytes: number): void;
  /** Bytes of a file that were there when it was planned. */
  onInherited(bytes: number): void;
  /** The sink begins anew: of files that are not settled, what counts is what it will say. */
  onRestarted(): void;
  /** Bytes of a file that the sink has now, on the stream that brought them. */
  onAcknowledged(stream: number, bytes: number): void;
  onResent(reason: "damaged" | "lost", count: number): void;
  /** A chunk goes out, once more perhaps. */
  onSent?(bytes: number, sent: SentAs): void;
  onReceipt(receipt: Message<"RECEIPT">): void;
  /** The transfer can't go on. */
  onFailed(error: HawserError): void;
}

export interface SettledItem {
  readonly item: SourceItem | SmallEntry;
  /** That of several neighbours, perhaps. */
  readonly outcome: SettledFile;
  /** Whether bytes of it were sent, or inherited, since the session was begun; not where it was only compared. */
  readonly wasBegun: boolean;
  /** Of what this end read, or trusts; missing where it knows nothing or not all. */
  readonly crc32: number | undefined;
  /** Of the whole, where the session verifies and both ends agree on it. */
  readonly blake3: Uint8Array | undefined;
  /** Of a committed file, what earlier runs had brought. */
  readonly bytesResumed: number;
  /** And what was in the file that gave way to it. */
  readonly bytesMatched: number;
  /** Of the resumed ones, what was not read again. */
  readonly bytesTrusted: number;
}
