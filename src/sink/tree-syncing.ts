/** Syncs what a batch of names on the disk has changed: each by itself, or the whole file system where there are many. */
import type { DirectoryCache } from "./directory-cache.ts";
import type { HeldDirectory } from "./held-directory.ts";
import type { Durability } from "./sink.ts";
import { canSyncFileSystems, isInMemory, syncFileSystem } from "./sync-file-system.ts";

/** From so many on one sync of the whole file system is cheaper than one of each. */
const SYNC_ALL_FROM = 4;

export class TreeSyncing {
  /** Whether anything is to be synced. */
  readonly isOn: boolean;
  readonly #root: HeldDirectory;
  #canSyncAll = canSyncFileSystems();

  constructor(root: HeldDirectory, durability: Durability) {
    this.#root = root;
    this.isOn = durability !== "none" && !isInMemory(root.entry(Buffer.from(".")));
  }

  /** Syncs everything, where that is cheaper than `count` syncs, and can be done. Returns whether it did. Throws SyncError. */
  async syncAllFor(count: number): Promise<boolean> {
    const { fd } = this.#root;
    if (count < SYNC_ALL_FROM || fd === undefined || !this.#canSyncAll) return false;
    this.#canSyncAll = await syncFileSystem(fd);
    return this.#canSyncAll;
  }

  /** Syncs directories that got new entries, and staging if it lost some. Throws SyncError. */
  async syncChanged(cache: DirectoryCache, staging?: HeldDirectory): Promise<void> {
    // While the disk is waited for, others need descriptors.
    cache.close();
    if (await this.syncAllFor(cache.changed.size)) return;
    for (const path of cache.changed.values()) await cache.find(path)?.sync();
    // By now the files have their names for good.
    await staging?.sync().catch(() => {});
  }
}
