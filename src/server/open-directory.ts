/**
 * A directory of this machine as what a server writes to: locked, and with what earlier runs left unfinished. A database
 * that can't be read is set aside and said: what it held has to be sent again, and nothing else depends on it.
 */
import { existsSync, renameSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../protocol/errors.ts";
import { STAGING_NAME } from "../protocol/names.ts";
import { DatabaseSessionStore } from "../sink/database-session-store.ts";
import { DiskSink } from "../sink/disk-sink.ts";
import { Quota } from "../sink/quota.ts";
import { QuotaSink } from "../sink/quota-sink.ts";
import type { SessionStore } from "../sink/session-store.ts";
import type { Sink } from "../sink/sink.ts";
import { assertDirectory } from "./assert-directory.ts";
import type { Backend } from "./backend.ts";
import { DatabaseHistory, HISTORY_NAME } from "./database-history.ts";
import { DirectoryLock, HOLDER_NAME, LOCK_NAME } from "./directory-lock.ts";
import { networkOf } from "./peer.ts";
import { SESSION_TTL_MS, type ServeOptions } from "./types.ts";

export const SESSIONS_NAME = "sessions.db";

/** What SQLite puts beside a database (sqlite.org/tempfiles.html). */
const BESIDE = ["", "-wal", "-shm", "-journal"];
const RECORD_NAMES = [
  HOLDER_NAME,
  ...[LOCK_NAME, SESSIONS_NAME, HISTORY_NAME].flatMap((name) => BESIDE.map((suffix) => name + suffix)),
];

/** Throws E_CONFIG, E_DIRECTORY_IN_USE, E_IO. */
export async function openDirectory(options: ServeOptions): Promise<Backend> {
  const { dir } = options;
  if (dir === undefined) throw new HawserError("E_CONFIG", "no directory was named");
  assertDirectory(dir);
  const warn = (message: string) => options.onEvent?.({ type: "warning", message });
  const staging = join(dir, STAGING_NAME);
  const toRelease: (() => unknown)[] = [];
  const release = async () => {
    for (const one of toRelease.splice(0).reverse()) await one();
  };
  try {
    const sink = new DiskSink(dir, {
      minFreeBytes: minFreeBytesOf(dir, options.minFreeBytes ?? 0),
      ...(options.durability === undefined ? {} : { durability: options.durability }),
      ...(options.maxFileBytes === undefined ? {} : { fileBytesMax: options.maxFileBytes }),
    });
    toRelease.push(() => sink.close());
    sink.assertRecords(RECORD_NAMES);
    const lock = DirectoryLock.take(staging);
    toRelease.push(() => lock.release());
    // A name that was made and not synced may count as unchanged from now on: it has to last.
    if (lock.wasLeft) await sink.syncNames();
    let parts = new Set<string>();
    const store = await orSetAside(join(staging, SESSIONS_NAME), warn, async (path) => {
      const opened = DatabaseSessionStore.open(path);
      try {
        await opened.closeAll();
        opened.noteTtl(options.sessionTtlMs ?? SESSION_TTL_MS);
        parts = await partsOf(opened);
        return opened;
      } catch (error) {
        await opened.release();
        throw error;
      }
    });
    toRelease.push(() => store.release());
    await dropHollow(store, sink);
    await sink.dropAllBut(parts);
    const history = await orSetAside(join(staging, HISTORY_NAME), warn, async () => DatabaseHistory.open(staging));
    toRelease.push(() => history.close());
    // Now that all is open: whoever may write to the directory may have moved staging away, and put another in its place.
    sink.assertRecords(RECORD_NAMES);
    if (!sink.hasHardLinks) {
      warn(`the file system of '${dir}' has no hard links: files are put in place by check and rename`);
    }
    return { sink: await withQuota(sink, store, options.quotaBytes), store, history, release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Of what file systems keep for root as well, and what a machine needs to go on with its own affairs. */
const FREE_PART = 1 / 20;
const FREE_BYTES_MAX = 1024 ** 3;

function minFreeBytesOf(dir: string, asked: number | "auto"): number {
  if (asked !== "auto") return asked;
  const { blocks, bsize } = statfsSync(dir);
  return Math.floor(Math.min(FREE_BYTES_MAX, blocks * bsize * FREE_PART));
}

/** What earlier runs left counts from the start on. */
async function withQuota(sink: DiskSink, store: SessionStore, quotaBytes: number | undefined): Promise<Sink> {
  if (quotaBytes === undefined) return sink;
  const quota = new Quota(quotaBytes);
  for (const { id, peer } of await store.list()) {
    for (const { partId } of (await store.load(id))?.files ?? []) {
      const bytes = sink.partBytes(partId);
      if (bytes !== undefined) quota.lay(partId, networkOf(peer), bytes);
    }
  }
  return new QuotaSink(sink, { quota, isThere: (partId) => sink.partBytes(partId) !== undefined });
}

/** Parts that no session knows of can't be gone on with, nor sessions whose files have none. */
async function partsOf(store: SessionStore): Promise<Set<string>> {
  const parts = new Set<string>();
  for (const { id } of await store.list()) {
    const files = (await store.load(id))?.files ?? [];
    for (const { partId } of files) parts.add(partId);
    if (files.length === 0) await store.drop(id);
  }
  return parts;
}

/** What a power cut has brought back of files that were settled: they are recorded, and have no part any more. */
async function dropHollow(store: SessionStore, sink: DiskSink): Promise<void> {
  const there = sink.partIds();
  for (const { id } of await store.list()) {
    const files = (await store.load(id))?.files ?? [];
    const hollow = files.filter(({ state, partId }) => state === "receiving" && !there.has(partId));
    await store.forgetFiles(hollow.map((file) => file.id));
    if (hollow.length === files.length) await store.drop(id);
  }
}

/** What says nothing of the database: it is held, or the disk is full. By SQLite's result codes. */
const PASSING = new Set([3, 5, 6, 7, 8, 13, 14]);
const passes = ({ cause }: Error) => PASSING.has(((cause as { errcode?: number })?.errcode ?? 0) & 0xff);

/** Opens a database, or, where it is spoilt, a new one in its place; the old one is kept under another name. */
async function orSetAside<T>(
  path: string,
  warn: (message: string) => void,
  open: (path: string) => Promise<T>,
): Promise<T> {
  try {
    return await open(path);
  } catch (thrown) {
    if (!existsSync(path) || passes(thrown as Error)) throw thrown;
    const aside = `${path}.spoilt-${Date.now()}`;
    renameSync(path, aside);
    for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
    const opened = await open(path);
    warn(`${(thrown as Error).message}; it was set aside as '${aside}', and a new one begun`);
    return opened;
  }
}
