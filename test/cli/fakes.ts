/** Stand-ins for tests of the command line: an output that remembers, results and events as the library gives them. */

import type { Output } from "../../src/cli/output.ts";
import type { FileResult, TransferEvent, TransferResult } from "../../src/client/types.ts";
import type { FileRecord, TransferRecord } from "../../src/server/types.ts";

export interface FakeOutput extends Output {
  readonly outText: () => string;
  readonly errText: () => string;
  /** Both, in the order in which they were written, each line marked `1` or `2`. */
  readonly log: string[];
}

export function fakeOutput(terminals: { out?: boolean; err?: boolean } = {}): FakeOutput {
  const log: string[] = [];
  const text = (mark: string) =>
    log
      .filter((entry) => entry.startsWith(mark))
      .map((entry) => entry.slice(1))
      .join("");
  return {
    out: (written) => void log.push(`1${written}`),
    err: (written) => void log.push(`2${written}`),
    errSoon: (written) => void log.push(`2${written}`),
    outIsTerminal: terminals.out ?? false,
    errIsTerminal: terminals.err ?? false,
    outClosed: false,
    get outUsed() {
      return text("1") !== "";
    },
    onOutClosed: () => {},
    drained: async () => {},
    outText: () => text("1"),
    errText: () => text("2"),
    log,
  };
}

export const FILE: FileResult = {
  name: "big.bin",
  bytes: 268_435_456,
  crc32: "1c291ca3",
  status: "sent",
  error: null,
};

export const FAILED_FILE: FileResult = {
  name: "old.bin",
  bytes: 3_145_728,
  crc32: null,
  status: "failed",
  error: {
    code: "E_EXISTS",
    message: "a file of this name is there already, with other content",
    hint: "Choose another name.",
    retryable: false,
  },
};

export const RESULT: TransferResult = {
  ok: true,
  dryRun: false,
  transferId: "3e5667f9-c9ad-4897-83ed-75abac6c0c2c",
  filesCommitted: 1,
  filesFailed: 0,
  filesUnchanged: 0,
  filesSkipped: 0,
  bytesSent: 268_435_456,
  bytes: 268_435_456,
  bytesResumed: 0,
  bytesMatched: 0,
  bytesTrusted: 0,
  bytesOnWire: 268_435_456,
  bytesSaved: 0,
  chunks: { raw: 256, zstd: 0, sparse: 0 },
  durationMs: 1234.567891,
  bytesPerSecond: 217_432_720.4,
  streams: 4,
  retries: 0,
  durability: "commit",
  limitBytesPerSecond: null,
  cpuSeconds: { client: 0.1, server: 0.2 },
  exitCode: 0,
  error: null,
  resumable: false,
  spooled: null,
};

export const REFUSED: TransferResult = {
  ...RESULT,
  ok: false,
  transferId: null,
  filesCommitted: 0,
  bytes: 0,
  durability: null,
  streams: 0,
  exitCode: 69,
  error: {
    code: "E_UNREACHABLE",
    message: "127.0.0.1:1 can't be reached: nothing listens there",
    hint: "Check the address.",
    retryable: true,
  },
};

export const CONNECTED: TransferEvent = {
  type: "connected",
  host: "127.0.0.1",
  port: 23300,
  transferId: "3e5667f9-c9ad-4897-83ed-75abac6c0c2c",
  agent: "hawser/0.1.0 (linux; node 24.21.0)",
  streams: 4,
  chunkBytes: 1_048_576,
  durability: "commit",
};

export type Progress = Extract<TransferEvent, { type: "progress" }>;

export const PROGRESS: Progress = {
  type: "progress",
  phase: "sending",
  stall: null,
  bytesDone: 1_288_490_189,
  bytesTotal: 4_294_967_296,
  filesDone: 0,
  filesTotal: 1,
  bytesPerSecond: 851_443_712,
  limitBytesPerSecond: null,
  etaMs: 3531,
  elapsedMs: 1500,
  streamBytes: [644_245_094, 322_122_547, 322_122_547, 0],
};

/** The same, where nothing has moved for a while. */
export const STALLED: Progress = {
  ...PROGRESS,
  phase: "stalled",
  stall: { ms: 12_345, waitingFor: "the server to write" },
  bytesPerSecond: 0,
  etaMs: null,
};

export const FILE_RECORD: FileRecord = {
  name: "a.bin",
  bytes: 50_000_000,
  crc32: "7cdd2106",
  status: "committed",
  error: null,
};

export const RECORD: TransferRecord = {
  transferId: "3e5667f9-c9ad-4897-83ed-75abac6c0c2c",
  peer: "192.168.1.9",
  status: "complete",
  startedMs: Date.UTC(2026, 10, 22, 16, 18, 1),
  durationMs: 283.43544399999996,
  files: 1,
  filesFailed: 0,
  bytes: 50_000_000,
  bytesPerSecond: 176_407_012.808,
  bytesResumed: 0,
  retries: 0,
  streams: 4,
  durability: "commit",
  names: ["a.bin"],
};
