/** What a caller of `send` gives and gets: plain data, the same for the terminal, for scripts and for other programs. */

import type { Readable } from "node:stream";
import type { Endpoint } from "../net/dial.ts";
import type { RateLimit } from "../net/rate-limit.ts";
import type { Terms } from "../net/transfer-end.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { FilterRule } from "../source/filter-rules.ts";
import type { Verdict } from "./verdict.ts";

/** What becomes of what has a name already: `--overwrite` of send. */
export type Overwrite = NonNullable<Message<"HELLO">["overwrite"]>;

/** How a file is checked before it is committed: `--verify` of send. */
export type Verify = NonNullable<Message<"HELLO">["verify"]>;

/** What the server syncs, and when: `--durability` of serve. */
export type Durability = Terms["durability"];

export type FileStatus = "sent" | "resumed" | "unchanged" | "renamed" | "skipped" | "failed";

export interface FailureReport {
  readonly code: ErrorCode;
  readonly message: string;
  /** The next step. */
  readonly hint: string;
  readonly retryable: boolean;
}

/** What became of one file. */
export interface FileResult {
  /** As the server knows it, relative to its directory; safe to show. */
  readonly name: string;
  readonly bytes: number;
  /** Eight hexadecimal digits; null where the file was not read. */
  readonly crc32: string | null;
  /** 64 hexadecimal digits, as `b3sum` prints them: of what both ends read back; else missing. */
  readonly blake3?: string;
  readonly status: FileStatus;
  /** Something else that had the name gave way to it; else missing. */
  readonly replaced?: true;
  readonly error: FailureReport | null;
}

/** What became of a transfer. */
export interface TransferResult {
  readonly ok: boolean;
  /** Nothing was sent: the numbers are of what would be. */
  readonly dryRun: boolean;
  /** null when no session was opened. */
  readonly transferId: string | null;
  readonly filesCommitted: number;
  readonly filesFailed: number;
  /** Of the committed ones, those that were there already: nothing of them was sent. */
  readonly filesUnchanged: number;
  /** Sockets, FIFOs and devices that were found in directories. */
  readonly filesSkipped: number;
  /** Of the files that are now at the destination, what this run brought; the rate is theirs. */
  readonly bytesSent: number;
  /** Of the files that are now at the destination. */
  readonly bytes: number;
  /** Of these, what earlier runs had brought. */
  readonly bytesResumed: number;
  /** And what was in the files that gave way to them, because of `delta`. */
  readonly bytesMatched: number;
  /** Of the resumed ones, what was not read again, because `trustMtime` says so. */
  readonly bytesTrusted: number;
  /** What this run's chunks took on the wire, those included that were sent again. */
  readonly bytesOnWire: number;
  /** What they would have taken besides, had none been compressed and no zeros been left out. */
  readonly bytesSaved: number;
  /** How many chunks went out as they are, compressed, and without their zeros. */
  readonly chunks: { readonly raw: number; readonly zstd: number; readonly sparse: number };
  readonly durationMs: number;
  readonly bytesPerSecond: number;
  /** The most at once. */
  readonly streams: number;
  /** Connections dialled again and chunks sent again. */
  readonly retries: number;
  readonly durability: Durability | null;
  /** At the end, the lower one of `bwlimit` and what the server says that it reads; null: no limit. */
  readonly limitBytesPerSecond: number | null;
  /** CPU time of this process during the transfer, and of the server's during the session, in seconds. */
  readonly cpuSeconds: { readonly client: number; readonly server: number | null };
  /** What limited it; missing where nothing was sent. */
  readonly verdict?: Verdict;
  readonly exitCode: number;
  readonly error: FailureReport | null;
  /** After a failure: whether the same call goes on where this one stopped. */
  readonly resumable: boolean;
  /** Where the copy of what was piped in is, while it is needed; null where there is none. */
  readonly spooled: string | null;
}

export type TransferEvent =
  | {
      readonly type: "connected";
      readonly host: string;
      readonly port: number;
      readonly transferId: string;
      /** The server's name and version. */
      readonly agent: string;
      /** To begin with. */
      readonly streams: number;
      readonly chunkBytes: number;
      readonly durability: Durability;
    }
  | {
      readonly type: "progress";
      /**
       * `spooling`: the input is being copied. `comparing`: what is there is compared with what is here. `committing`:
       * every byte is there, and the server makes it durable. `stalled`: nothing moves, and `stall` says since when, and
       * why as far as that is known.
       */
      readonly phase: "spooling" | "connecting" | "comparing" | "sending" | "committing" | "stalled";
      readonly stall: { readonly ms: number; readonly waitingFor: string } | null;
      readonly bytesDone: number;
      /** null while a size isn't known, or not all files are found. */
      readonly bytesTotal: number | null;
      readonly filesDone: number;
      /** Found so far. */
      readonly filesTotal: number;
      /** Smoothed over the last seconds. */
      readonly bytesPerSecond: number;
      /** What it may be at most now, by `bwlimit` and what the server says that it reads; null: no limit. */
      readonly limitBytesPerSecond: number | null;
      readonly etaMs: number | null;
      readonly elapsedMs: number;
      /** Bytes acknowledged on each stream, by its number. */
      readonly streamBytes: readonly number[];
    }
  /** As many as pay changed: there are to be so many from now on. */
  | { readonly type: "streams"; readonly streams: number }
  | { readonly type: "file"; readonly file: FileResult }
  /** The input was copied whole, and is sent from there. */
  | { readonly type: "spooled"; readonly path: string; readonly bytes: number }
  | { readonly type: "warning"; readonly message: string };

/** By what a server is known, and this client let in: with neither ticket nor authority it is not. */
export interface ClientKeys {
  /** What `hawser ticket` printed: the pin of the server's key, and a token. */
  readonly ticket?: string | undefined;
  /** PEM, in place of the pin: the server's certificate is signed by one of these, and is for the host of `to`. */
  readonly ca?: string | undefined;
  /** PEM: for a server that knows its clients by their certificates. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Each stream has a TLS handshake of its own (it is sealed with keys of the control connection's TLS, which is faster). */
  readonly tlsStreams?: boolean | undefined;
}

export interface SendOptions {
  /** Files and directories. One that ends in a slash stands for what is in it. */
  readonly paths?: readonly string[];
  /**
   * In place of files: a stream, or a descriptor (0 is standard input), that is read once, to its end, and sent as the
   * one file `name`. It can't be resumed. It is destroyed, or closed unless it is a standard one, whatever happens.
   */
  readonly input?: Readable | number;
  /** Of `input`: anything else fails with E_CONTENT, and nothing is committed. */
  readonly expectBytes?: number;
  readonly expectCrc32?: number;
  readonly to: Endpoint;
  /** TLS 1.3 (plain TCP, which whoever is on the path can read and change). */
  readonly secure?: ClientKeys | undefined;
  /** Connections that carry data, 1 to 128; "auto": as many as pay, found out on the way ("auto"). */
  readonly streams?: number | "auto";
  /**
   * Threads beside the main one that read, seal and write, 0 to 16; "auto": where there are processors for them and they pay
   * ("auto"). What comes through a pipe is sent by the main thread, however many there are.
   */
  readonly workers?: number | "auto";
  /** 64 KiB to 16 MiB, a multiple of 4 KiB (1 MiB). */
  readonly chunkBytes?: number;
  /** A directory below the served one; it is made where it is missing. */
  readonly into?: string;
  /**
   * An existing directory: `input` is first copied into a file there, which is then sent as files are, and so can be gone
   * on with. The copy is removed when it is committed, and stays otherwise: `spooled` of the result says where.
   */
  readonly spool?: string;
  /** Another name for the one file or directory that is sent; `input` needs one. */
  readonly name?: string;
  /** Without any progress for this long the transfer ends; broken connections are dialled again until then (60,000). */
  readonly timeoutMs?: number;
  /** How often one connection is dialled again without progress in between (until the timeout). */
  readonly retries?: number;
  /** false: what an interrupted run left on the server is thrown away (true). */
  readonly resume?: boolean;
  /** What earlier runs read of a file of the same size, times and inode is not read again (false). */
  readonly trustMtime?: boolean;
  /** `full`: after the last byte both ends read each file once more, whole, and compare its BLAKE3 ("crc"). */
  readonly verify?: Verify;
  /** What becomes of what has a name already ("never"). */
  readonly overwrite?: Overwrite;
  /**
   * A file that gives way to another is compared with it chunk by chunk, and only what differs is sent; `overwrite` is
   * "if-different" then unless it is "always" (false).
   */
  readonly delta?: boolean;
  /** Files in directories are compared by content, not by size and time (false). */
  readonly checksum?: boolean;
  /** Links in directories are sent as what they point to (false). */
  readonly copyLinks?: boolean;
  /** Permission bits are set as they are here; otherwise the server's umask takes its part away (false). */
  readonly preserveMode?: boolean;
  /** A list of paths, separated by NUL or newline: a file, or `-` for standard input. Each is sent under its whole name. */
  readonly filesFrom?: string;
  /** Which of the files in directories are left out, the last rule that matches counts (none). */
  readonly filter?: readonly FilterRule[];
  /** Nothing is sent: the result says what would be (false). */
  readonly dryRun?: boolean;
  /** What all streams together may send. The caller keeps it, and can change it on the way. */
  readonly bwlimit?: RateLimit;
  /**
   * Asks the system twice a second what the connections sent again, so that the verdict is of them alone and not of all
   * programs on this machine (false).
   */
  readonly watchConnections?: boolean;
  /** `auto`: chunks are compressed where that makes the transfer faster; `zstd`: always; `none`: never (`auto`). */
  readonly compress?: "auto" | "zstd" | "none";
  /** Aborting hands out no more chunks, lets what is in flight be recorded, and ends the transfer. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: TransferEvent) => void;
}
