/**
 * `node test/torture/entries.ts [N]`: a transfer of N entries (a million) from a source that makes them up to a sink that
 * keeps nothing, both in this process over loopback, and how much memory that takes on the way. What is measured is what
 * hawser itself keeps: it must not grow with the number of entries. Exits 1 where the second half of the transfer took more
 * than a bound over the first.
 */
import { lstatSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Link } from "../../src/client/link.ts";
import type { HawserError } from "../../src/protocol/errors.ts";
import type { History } from "../../src/server/history.ts";
import { serveBackend } from "../../src/server/serve.ts";
import { DiscardSink } from "../../src/sink/discard-sink.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import type { Committed, Sink, TreeSink } from "../../src/sink/sink.ts";
import type { SmallEntry } from "../../src/source/entry.ts";
import { SourceSession } from "../../src/source/session.ts";
import { MIB, makeFile } from "../helpers/files.ts";

const COUNT = Number(process.argv[2] ?? 1_000_000);
/** What a heap may grow by without growing: its garbage is collected when it likes. */
const GROWTH_BYTES_MAX = 64 * MIB;

/** A file in ten stands in a directory of its own, and one in a hundred is a link. */
function* entries(path: string): Generator<SmallEntry> {
  const { size, mtimeMs, ino: inode } = lstatSync(path);
  const mtime = [1_700_000_000, 0] as const;
  for (let i = 0; i < COUNT; i++) {
    const text = `d${Math.floor(i / 1000)}/e${Math.floor(i / 10) % 100}/file-${i}`;
    const name = Buffer.from(text);
    if (i % 10 === 9)
      yield { kind: "directory", name: name.subarray(0, name.lastIndexOf(0x2f)), size: 0, mtime, mode: 0o755 };
    else if (i % 100 === 0) yield { kind: "symlink", name, size: 0, mtime, mode: 0o777, target: Buffer.from("target") };
    else yield { kind: "small", name: text, size, mode: 0o644, quick: true, path, mtimeMs, inode };
  }
}

/** Takes all, and keeps nothing. */
const nowhere: TreeSink = {
  stages: true,
  findAll: (names) => names.map(() => undefined),
  batch: () => {
    let files = 0;
    return {
      stage: () => void files++,
      commit: async () => Array.from({ length: files }, (): Committed => ({})),
    };
  },
  makeDirectory: async () => {},
  makeLink: async () => ({}),
};
const sink: Sink = Object.assign(new DiscardSink(), { tree: nowhere });
const history: History = {
  addFiles: async () => {},
  addTransfer: async () => {},
  list: () => [],
  close: async () => {},
};

const dir = mkdtempSync(join(tmpdir(), "hawser-entries-"));
const server = await serveBackend(
  { dir, port: 0 },
  { sink, store: new MemorySessionStore(), history, release: async () => {} },
);
const startedMs = performance.now();
const curve: { readonly settled: number; readonly rss: number }[] = [];
let settled = 0;
let failed = 0;
let session: SourceSession | undefined;

const link: Link = new Link({
  to: server.address,
  role: "source",
  purpose: "transfer",
  streams: 4,
  chunkBytes: MIB,
  timeoutMs: 60_000,
  awaitsAcknowledgement: () => session?.hasOutstanding ?? false,
  onReady: () => {},
  onWarning: (message) => console.error(message),
  makeEnd: (terms) => {
    session = new SourceSession(entries(makeFile(join(dir, "file"), 100)), terms, {
      onSettled: ({ outcome }) => {
        settled++;
        if (outcome.status === "failed") failed++;
        if (settled % Math.ceil(COUNT / 20) === 0) sample();
      },
      onInherited: () => {},
      onRestarted: () => {},
      onAcknowledged: () => link.progress(),
      onResent: () => {},
      onReceipt: () => link.finish(),
      onFailed: (error: HawserError) => link.fail(error),
    });
    return session;
  },
});

function sample(): void {
  const rss = process.memoryUsage.rss();
  curve.push({ settled, rss });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(
    `${String(settled).padStart(9)} settled  ${seconds.padStart(7)} s  ${(rss / MIB).toFixed(0).padStart(5)} MiB`,
  );
}

void link.start();
const error = await link.over;
await session?.dispose();
await server.close();
rmSync(dir, { recursive: true, force: true });

const most = (from: number, to: number) =>
  Math.max(...curve.filter(({ settled }) => settled > from * COUNT && settled <= to * COUNT).map(({ rss }) => rss));
const grown = most(0.5, 1) - most(0, 0.5);
const perSecond = (settled / (performance.now() - startedMs)) * 1000;
console.log(
  `${settled} of ${COUNT} settled, ${failed} failed, ${perSecond.toFixed(0)} a second; the second half took ${(grown / MIB).toFixed(1)} MiB more`,
);
if (error !== undefined) console.error(error);
process.exitCode = error === undefined && settled === COUNT && failed === 0 && grown <= GROWTH_BYTES_MAX ? 0 : 1;
