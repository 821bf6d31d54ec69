/**
 * A directory that is held open, so that names below it can't be led elsewhere: each component is opened by itself and
 * no link is followed. Where the platform can't do that, paths and a check stand in for it (platform.ts).
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  utimesSync,
} from "node:fs";
import { HawserError } from "../protocol/errors.ts";
import { componentsOf, displayName } from "../protocol/names.ts";
import { notDirectory, oneName } from "./clobber.ts";
import { syncDirectory, syncFile } from "./durable.ts";
import { Folding } from "./folding.ts";
import { ioError } from "./io-error.ts";
import { descriptorPath, HOLDS_DIRECTORIES, O_DIRECTORY, O_NOFOLLOW } from "./platform.ts";

const SLASH = 0x2f;

export class HeldDirectory {
  readonly #fd: number | undefined;
  readonly #base: Buffer;
  readonly #folding = new Folding((name) => this.entry(name));
  /** Under way, and the one after it, for those who came too late for that. */
  #syncing: Promise<void> | undefined;
  #nextSync: Promise<void> | undefined;

  private constructor(fd: number | undefined, base: Buffer) {
    this.#fd = fd;
    this.#base = base;
  }

  /** Holds the directory at `path`, links in the path itself followed: whoever starts the server chose it. */
  static open(path: string): HeldDirectory {
    if (!HOLDS_DIRECTORIES) return new HeldDirectory(undefined, Buffer.from(path));
    const fd = openSync(path, constants.O_RDONLY | O_DIRECTORY);
    return new HeldDirectory(fd, Buffer.from(descriptorPath(fd)));
  }

  /** Its descriptor; undefined where the platform holds none. */
  get fd(): number | undefined {
    return this.#fd;
  }

  /** Gives it permission bits and a time, in seconds. */
  setAttributes(mode: number, time: number | Date): void {
    if (this.#fd === undefined) {
      chmodSync(this.#base, mode);
      utimesSync(this.#base, time, time);
    } else {
      fchmodSync(this.#fd, mode);
      futimesSync(this.#fd, time, time);
    }
  }

  /** The path of an entry, for calls that don't follow a link at the end of it. */
  entry(name: Uint8Array): Buffer {
    const path = Buffer.allocUnsafe(this.#base.length + 1 + name.length);
    path.set(this.#base);
    path[this.#base.length] = SLASH;
    path.set(name, this.#base.length + 1);
    return path;
  }

  /** The name of what is found as `name`, where that is another one; undefined where it is just that (see folding.ts). */
  ownNameOf(name: Uint8Array): Uint8Array | undefined {
    return this.#folding.ownNameOf(name);
  }

  /**
   * Holds a directory in this one; undefined where there is none. Throws E_NOT_DIRECTORY where something else is, E_NAME
   * where it is one of another name.
   */
  child(name: Uint8Array): HeldDirectory | undefined {
    const held = this.#child(name);
    if (held === undefined) return undefined;
    try {
      const own = this.ownNameOf(name);
      if (own !== undefined) throw oneName(name, own);
      return held;
    } catch (thrown) {
      held.close();
      throw ioError(`opening the directory '${displayName(name)}'`, thrown);
    }
  }

  #child(name: Uint8Array): HeldDirectory | undefined {
    const path = this.entry(name);
    try {
      if (!HOLDS_DIRECTORIES) {
        if (!lstatSync(path).isDirectory()) throw notDirectory(name);
        return new HeldDirectory(undefined, path);
      }
      const fd = openSync(path, constants.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      return new HeldDirectory(fd, Buffer.from(descriptorPath(fd)));
    } catch (thrown) {
      if (thrown instanceof HawserError) throw thrown;
      const { code } = thrown as NodeJS.ErrnoException;
      if (code === "ENOENT") return undefined;
      if (code === "ENOTDIR" || code === "ELOOP") throw notDirectory(name);
      throw ioError(`opening the directory '${displayName(name)}'`, thrown);
    }
  }

  /** Makes a directory in this one, unless it is there, and holds it. */
  async makeChild(name: Uint8Array, durably = true): Promise<HeldDirectory> {
    const there = this.child(name);
    if (there !== undefined) return there;
    this.makeNow(name);
    const made = this.child(name);
    if (made === undefined) throw new HawserError("E_IO", `the directory '${displayName(name)}' was taken away`);
    if (durably) await this.sync();
    return made;
  }

  /** Makes a directory in this one, unless it is there. */
  makeNow(name: Uint8Array): void {
    try {
      mkdirSync(this.entry(name));
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") {
        throw ioError(`making the directory '${displayName(name)}'`, thrown);
      }
    }
  }

  /**
   * Makes what was done to this directory's entries outlive a power cut. Whoever asks while it is being synced shares the next sync
   * with all others that do: the one under way may have begun too early for them.
   */
  sync(): Promise<void> {
    if (this.#syncing === undefined) return this.#beginSync();
    // What the one under way fails of is told once, and may be of these too (fsync(2)): then they fail with it.
    this.#nextSync ??= this.#syncing.then(
      () => this.#beginSync(),
      (thrown) => {
        this.#nextSync = undefined;
        throw thrown;
      },
    );
    return this.#nextSync;
  }

  #beginSync(): Promise<void> {
    this.#nextSync = undefined;
    const syncing = this.#fd === undefined ? syncDirectory(this.#base) : syncFile(this.#fd);
    this.#syncing = syncing.finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  /** Whether both are on one file system, so that links and renames work between them. */
  isOnSameDeviceAs(other: HeldDirectory): boolean {
    return this.#device() === other.#device();
  }

  close(): void {
    this.#folding.forget();
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #device(): number {
    return this.#fd === undefined ? lstatSync(this.#base).dev : fstatSync(this.#fd).dev;
  }
}

/**
 * Runs `use` with the directory of a checked name held, and the name's last component. Directories that are missing are
 * made if `make` says so, and then outlive a power cut or not; otherwise the result is undefined.
 */
export async function inDirectoryOf<T>(
  root: HeldDirectory,
  name: Uint8Array,
  make: "no" | "yes" | "durably",
  use: (directory: HeldDirectory, last: Uint8Array) => T | Promise<T>,
): Promise<T | undefined> {
  const components = componentsOf(name);
  const last = components.pop() as Uint8Array;
  let directory = root;
  try {
    for (const component of components) {
      const next =
        make !== "no" ? await directory.makeChild(component, make === "durably") : directory.child(component);
      if (next === undefined) return undefined;
      if (directory !== root) directory.close();
      directory = next;
    }
    return await use(directory, last);
  } finally {
    if (directory !== root) directory.close();
  }
}

/** The directory of a name, without its slash (empty: the root), and its last component. */
export function splitName(name: Uint8Array): [directory: Uint8Array, last: Uint8Array] {
  const slash = name.lastIndexOf(SLASH);
  return [name.subarray(0, Math.max(0, slash)), name.subarray(slash + 1)];
}
