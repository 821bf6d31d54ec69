/** What a caller of `serve` gives and gets: plain data. */
import type { Writable } from "node:stream";
import type { Endpoint } from "../net/dial.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { Durability } from "../sink/sink.ts";

/** How long what is unfinished is kept: long enough for whoever interrupts a transfer on a Friday. */
export const SESSION_TTL_MS = 7 * 24 * 3600 * 1000;

/** What a server shows of itself, and by what it knows its clients. */
export interface ServerKeys {
  /** PEM: the certificate and those between it and its authority, if it has one. */
  readonly cert: string;
  /** PEM: its private key. */
  readonly key: string;
  /** The database of tickets that were given out; it is made where it is missing. `Tickets` writes it. */
  readonly tickets: string;
  /** PEM: a client with a certificate that these have signed needs no ticket, and is `cert:` and the name in it. */
  readonly clientCa?: string | undefined;
  /** Each stream has a TLS handshake of its own (it is sealed with keys of its control connection's TLS, which is faster). */
  readonly tlsStreams?: boolean | undefined;
}

export interface ServeOptions {
  /** An existing directory. */
  readonly dir?: string;
  /** In place of a directory: one file is written there, in order, and what is not whole can't be gone on with. */
  readonly output?: Writable;
  /** An address of this machine (127.0.0.1). */
  readonly host?: string;
  /** TLS 1.3, and tickets (plain TCP, which takes files from whoever can reach it). */
  readonly secure?: ServerKeys | undefined;
  /** 0 picks a free one (23300). */
  readonly port?: number;
  /** Addresses or networks (`ADDRESS/BITS`) that may connect (all), and those that may not, whatever the others say. */
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  /**
   * Connections at once that belong to a transfer, all clients together (1,024, and what descriptors allow). A quarter as
   * many again may wait to say what they want.
   */
  readonly maxConnections?: number;
  /** The same from one address (512). Here and below all addresses of one IPv6 /64 are one. */
  readonly maxConnectionsPerPeer?: number;
  /** Transfers under way at once, all clients together (256). */
  readonly maxSessions?: number;
  /** Transfers under way at once of one client (64): of its ticket or certificate, in plain of its address. */
  readonly maxSessionsPerPeer?: number;
  /**
   * A transfer that moves fewer bytes a second than this over `minRateOverMs` (60,000) ends, to be gone on with later, when
   * others want its place (1,024); null: never.
   */
  readonly minBytesPerSecond?: number | null;
  readonly minRateOverMs?: number;
  /** The largest file taken (no limit). */
  readonly maxFileBytes?: number;
  /** Files, directories and links in one transfer (no limit). */
  readonly maxEntries?: number;
  /** Components of a name (no limit). */
  readonly maxDepth?: number;
  /** Bytes that the unfinished files of one client may take, those under way included (no limit). */
  readonly quotaBytes?: number;
  /** Bytes that stay free on the file system (0); "auto": a twentieth of it, 1 GiB at most. */
  readonly minFreeBytes?: number | "auto";
  /** How long what is unfinished waits for its client to come back, in milliseconds (7 days). */
  readonly sessionTtlMs?: number;
  /**
   * Memory for chunks on their way in, all clients together, in bytes (a quarter of the machine's, 1 GiB at most). A connection for
   * whose next chunk there is no room is not read until there is; one client may have half of what the others leave.
   */
  readonly chunkMemoryBytes?: number;
  /** What is synced, and when ("commit"). */
  readonly durability?: Durability;
  /**
   * What is read from one client (of its ticket or certificate, in plain of its address), all its transfers together, in bytes a
   * second; null or missing: no limit.
   */
  readonly bytesPerSecondPerPeer?: number | null;
  readonly onEvent?: (event: ServerEvent) => void;
}

/** A transfer as history keeps it. */
export interface TransferRecord {
  readonly transferId: string;
  /** The client: its ticket's name, or in plain its canonical IP address. */
  readonly peer: string;
  /** `partial`: some files failed, `failed`: all; `interrupted`: the client went away before all was settled. */
  readonly status: "complete" | "partial" | "failed" | "interrupted";
  /** Milliseconds since 1970. */
  readonly startedMs: number;
  readonly durationMs: number;
  readonly files: number;
  readonly filesFailed: number;
  /** Of the files that are now in the directory. */
  readonly bytes: number;
  /** Of what was received. */
  readonly bytesPerSecond: number;
  readonly bytesResumed: number;
  readonly retries: number;
  readonly streams: number;
  readonly durability: string;
  /** The first files by name, for showing; `fileRecords` of a past transfer has them all. */
  readonly names: readonly string[];
}

export interface FileRecord {
  readonly name: string;
  readonly bytes: number;
  readonly crc32: string | null;
  readonly status: "committed" | "unchanged" | "failed";
  readonly error: string | null;
}

export type ServerEvent =
  /** `dir`: null where it is received into a stream. */
  | { readonly type: "listening"; readonly host: string; readonly port: number; readonly dir: string | null }
  | {
      readonly type: "session";
      readonly transferId: string;
      readonly peer: string;
      readonly agent: string;
      /** Whether an earlier run began it. */
      readonly resumed: boolean;
    }
  | {
      readonly type: "file";
      readonly transferId: string;
      readonly peer: string;
      readonly file: FileRecord;
      /** Of a file that failed. */
      readonly code?: ErrorCode;
    }
  | { readonly type: "transfer"; readonly record: TransferRecord }
  | {
      readonly type: "ended";
      readonly transferId: string;
      readonly peer: string;
      /** Whether anything of it is kept, to be gone on with. */
      readonly resumable: boolean;
      readonly code: ErrorCode;
      readonly message: string;
    }
  /** What a client left unfinished, and did not come back for, was dropped. */
  | { readonly type: "expired"; readonly transferId: string; readonly peer: string }
  /** Another limit for each client holds from now on; null: none. */
  | { readonly type: "limit"; readonly bytesPerSecond: number | null }
  | { readonly type: "refused"; readonly peer: string; readonly code: string; readonly message: string }
  | { readonly type: "warning"; readonly message: string };

export interface HawserServer {
  readonly address: Endpoint;
  /** Limits what is read from each client to so many bytes a second, or ends the limit; also for transfers under way. */
  setRateLimit(bytesPerSecond: number | null): void;
  /** Accepts no new transfers, lets those under way finish for `drainMs` at most, then ends them. */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}
