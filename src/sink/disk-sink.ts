/**
 * Files in a directory of this machine. Parts lie in staging, on the same file system, and become files by a link, which
 * never replaces what is there; where there are no hard links a lock per name, a check and a rename do.
 */
import { linkSync, lstatSync, readdirSync, rmSync, statfsSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../protocol/errors.ts";
import { FILE_BYTES_MAX } from "../protocol/limits.ts";
import { escapeText, STAGING_NAME } from "../protocol/names.ts";
import { findOnDisk } from "./disk-existing.ts";
import { DiskPart, fingerprintOf } from "./disk-part.ts";
import { DiskTree } from "./disk-tree.ts";
import { HeldDirectory, inDirectoryOf } from "./held-directory.ts";
import { ioError } from "./io-error.ts";
import { NameLocks } from "./name-locks.ts";
import { NO_HARD_LINKS } from "./platform.ts";
import { assertOwnFiles, assertStillAt, holdPrivate } from "./private-directory.ts";
import type { Durability, ExistingFile, Part, PartSpec, Sink, SinkCapabilities, TreeSink } from "./sink.ts";
import { canSyncFileSystems, isInMemory, syncFileSystem } from "./sync-file-system.ts";

const PARTS_NAME = "parts";
const PART_SUFFIX = ".part";

/** What st_blocks counts (stat(2)). */
const STAT_BLOCK_BYTES = 512;

export interface DiskSinkOptions {
  /** Bytes that stay free on the file system. */
  readonly minFreeBytes?: number;
  readonly fileBytesMax?: number;
  readonly durability?: Durability;
  /** false: as on a file system without hard links. */
  readonly hardLinks?: boolean;
}

export class DiskSink implements Sink {
  readonly capabilities: SinkCapabilities;
  /** Whether files are committed by link; otherwise by lock, check and rename. */
  readonly hasHardLinks: boolean;
  readonly tree: TreeSink;
  readonly #directory: string;
  readonly #root: HeldDirectory;
  /** Staging as a whole, with the databases in it; and the directory of the parts. */
  readonly #home: HeldDirectory;
  readonly #staging: HeldDirectory;
  readonly #locks = new NameLocks();
  readonly #clones = { work: true };
  /** Not what lies in memory only: going through the thread pool for nothing costs as much as a small file. */
  readonly #syncs: boolean;
  readonly #minFreeBytes: number;
  /** Bytes promised to open parts and not written yet. */
  #promisedBytes = 0;

  /** Throws HawserError where the directory can't be used. Makes staging in it. */
  constructor(directory: string, options: DiskSinkOptions = {}) {
    this.#directory = directory;
    this.#minFreeBytes = options.minFreeBytes ?? 0;
    this.capabilities = {
      randomAccess: true,
      blockBytes: 1,
      fileBytesMax: options.fileBytesMax ?? FILE_BYTES_MAX,
      durability: options.durability ?? "commit",
    };
    const held: HeldDirectory[] = [];
    try {
      this.#root = HeldDirectory.open(directory);
      held.push(this.#root);
      this.#home = holdPrivate(this.#root, STAGING_NAME, join(directory, STAGING_NAME));
      held.push(this.#home);
      this.#staging = holdPrivate(this.#home, PARTS_NAME, join(directory, STAGING_NAME, PARTS_NAME));
      held.push(this.#staging);
      this.#syncs = this.capabilities.durability !== "none" && !isInMemory(this.#staging.entry(Buffer.from(".")));
      this.hasHardLinks = options.hardLinks ?? this.#probeLinks();
      this.tree = new DiskTree({
        durability: this.capabilities.durability,
        root: this.#root,
        staging: this.#staging,
        stagingPrefix: this.#staging.entry(Buffer.alloc(0)).toString("utf8"),
        hasHardLinks: this.hasHardLinks,
        fileBytesMax: this.capabilities.fileBytesMax,
        assertSpace: (bytes) => this.#assertSpace(bytes),
        stagingNameOf,
      });
    } catch (thrown) {
      for (const one of held) one.close();
      throw ioError(`preparing ${STAGING_NAME} in '${directory}'`, thrown);
    }
  }

  async find(name: Uint8Array): Promise<ExistingFile | undefined> {
    return findOnDisk(this.#root, name);
  }

  async reserve(spec: PartSpec): Promise<Part> {
    return this.#promise(spec, 0);
  }

  async reopen(spec: PartSpec, bytesThere: number): Promise<Part | undefined> {
    const part = this.#promise(spec, bytesThere);
    try {
      if (part.reopen()) return part;
    } catch (thrown) {
      await part.close();
      throw thrown;
    }
    await part.close();
    return undefined;
  }

  #promise(spec: PartSpec, bytesThere: number): DiskPart {
    const size = spec.size ?? 0;
    const bytes = Math.max(0, size - bytesThere);
    if (size > this.capabilities.fileBytesMax) {
      throw new HawserError("E_TOO_LARGE", `the server takes files of ${this.capabilities.fileBytesMax} bytes at most`);
    }
    const freeBytes = this.#freeBytes();
    if (bytes > freeBytes) {
      const kept = this.#minFreeBytes > 0 ? `, besides ${this.#minFreeBytes} that stay free` : "";
      const message = `the file needs ${bytes} bytes${bytesThere > 0 ? " more" : ""}, and ${Math.max(0, freeBytes)} are free on the destination${kept}`;
      throw new HawserError("E_NO_SPACE", message);
    }
    this.#promisedBytes += bytes;
    return new DiskPart(spec, bytes, Buffer.from(stagingNameOf(spec.id)), {
      durability: this.capabilities.durability,
      syncs: this.#syncs,
      root: this.#root,
      staging: this.#staging,
      locks: this.hasHardLinks ? undefined : this.#locks,
      clones: this.#clones,
      release: (count) => {
        this.#promisedBytes -= count;
      },
      assertSpace: (count) => this.#assertSpace(count),
    });
  }

  async isCommitted(name: Uint8Array, fingerprint: string, size: number): Promise<boolean> {
    const found = await inDirectoryOf(this.#root, name, "no", async (directory, last) => {
      const stats = lstatSync(directory.entry(last), { bigint: true, throwIfNoEntry: false });
      if (!stats?.isFile() || fingerprintOf(stats) !== fingerprint || Number(stats.size) !== size) return false;
      // Whoever linked it may have ended before the name was synced.
      if (this.#syncs) await directory.sync();
      return true;
    });
    return found ?? false;
  }

  async dropPart(id: string): Promise<void> {
    removeIfThere(this.#staging.entry(Buffer.from(stagingNameOf(id))));
  }

  dropAllBut(ids: ReadonlySet<string>): Promise<number> {
    const kept = new Set([...ids].map((id) => id + PART_SUFFIX));
    const leftovers = this.#stagingNames().filter((name) => !kept.has(name));
    for (const name of leftovers) {
      try {
        // Directories of small files as well, that did not get their names.
        rmSync(this.#staging.entry(Buffer.from(name, "latin1")), { recursive: true });
      } catch {
        // Not a part of ours, or somebody else took it away.
      }
    }
    return Promise.resolve(leftovers.length);
  }

  /** What a part takes on the disk, in bytes; undefined where there is none. */
  partBytes(id: string): number | undefined {
    const stats = lstatSync(this.#staging.entry(Buffer.from(stagingNameOf(id))), { throwIfNoEntry: false });
    return stats === undefined
      ? undefined
      : (stats.blocks ?? Math.ceil(stats.size / STAT_BLOCK_BYTES)) * STAT_BLOCK_BYTES;
  }

  /** Ids of the parts that lie in staging. */
  partIds(): Set<string> {
    const names = this.#stagingNames().filter((name) => name.endsWith(PART_SUFFIX));
    return new Set(names.map((name) => name.slice(0, -PART_SUFFIX.length)));
  }

  #stagingNames(): string[] {
    return readdirSync(this.#staging.entry(Buffer.from(".")), { encoding: "latin1" });
  }

  /**
   * Makes all names below the directory outlive a power cut that a server which was killed may not have synced; of no
   * effect where nothing is to be synced, or the platform can't sync so many at once. Throws SyncError.
   */
  async syncNames(): Promise<void> {
    if (this.capabilities.durability === "none" || !canSyncFileSystems()) return;
    if (this.#root.fd !== undefined && !isInMemory(this.#root.entry(Buffer.from("."))))
      await syncFileSystem(this.#root.fd);
  }

  /**
   * Throws E_CONFIG where one of these in staging is another user's, or its path leads elsewhere: databases are opened
   * by path, and so what is held is compared with that before and after.
   */
  assertRecords(names: readonly string[]): void {
    const path = join(this.#directory, STAGING_NAME);
    assertStillAt(this.#home, path);
    assertOwnFiles(this.#home, names, path);
  }

  close(): Promise<void> {
    this.#staging.close();
    this.#home.close();
    this.#root.close();
    return Promise.resolve();
  }

  #assertSpace(bytes: number): void {
    if (this.#freeBytes() < bytes) throw new HawserError("E_NO_SPACE", "the destination is as full as it may get");
  }

  /** Free for us, less what is promised to parts under way and what is to stay free. */
  #freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#root.entry(Buffer.from(".")));
    return bavail * bsize - this.#promisedBytes - this.#minFreeBytes;
  }

  #probeLinks(): boolean {
    const [probe, linked] = ["probe", "probe-link"].map((name) => this.#staging.entry(Buffer.from(name))) as [
      Buffer,
      Buffer,
    ];
    for (const path of [probe, linked]) removeIfThere(path);
    writeFileSync(probe, "", { flag: "wx", mode: 0o600 });
    try {
      linkSync(probe, linked);
      return true;
    } catch (thrown) {
      if (NO_HARD_LINKS.has((thrown as NodeJS.ErrnoException).code ?? "")) return false;
      throw thrown;
    } finally {
      for (const path of [probe, linked]) removeIfThere(path);
    }
  }
}

/** Drops a part of a directory that another process may serve; not one that it has open. */
export function dropPartIn(directory: string, id: string): void {
  removeIfThere(Buffer.from(join(directory, STAGING_NAME, PARTS_NAME, stagingNameOf(id))));
}

/** One component of a path, whatever it says: an id may come from a database that somebody else has written. */
const PART_ID = /^[^/\\\0]{1,200}$/;

/** Throws E_IO for what can't be an id. */
function stagingNameOf(id: string): string {
  if (!PART_ID.test(id)) throw new HawserError("E_IO", `'${escapeText(id)}' can't be the id of a part`);
  return id + PART_SUFFIX;
}

function removeIfThere(path: Buffer): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
  }
}
