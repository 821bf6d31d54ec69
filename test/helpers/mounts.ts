/** File systems of a test's own: small ones in memory, and ones on an image whose power is cut. Root's only. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";

/** Throws where it fails, with what it said. */
function command(name: string, ...args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(name, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${name} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
}

const isThere = (name: string, ...args: readonly string[]) => spawnSync(name, args).error === undefined;

/** Tries it out; says why it can't be done here, and passes. */
function skips(t: Test, what: string, attempt: () => void): boolean {
  try {
    attempt();
    return false;
  } catch (thrown) {
    t.pass(`skipped: ${what} can't be used here: ${(thrown as Error).message}`);
    return true;
  }
}

/** A directory to mount on, which is unmounted before it is removed; `t.testdir` would remove first. */
function workplace(t: Test): string {
  const root = mkdtempSync(join(tmpdir(), "hawser-mount-"));
  mkdirSync(join(root, "disk"));
  t.teardown(() => {
    // Lazily: what a failed test left open must not leave the mount behind.
    spawnSync("umount", ["-l", join(root, "disk")]);
    rmSync(root, { recursive: true, force: true });
  });
  return root;
}

/** The place of a new file system of so many bytes in memory; undefined where it can't be had. */
export function smallFileSystem(t: Test, bytes: number): string | undefined {
  const place = join(workplace(t), "disk");
  const size = `size=${bytes}`;
  return skips(t, "tmpfs", () => command("mount", "-t", "tmpfs", "-o", size, "tmpfs", place)) ? undefined : place;
}

const SHUTDOWN = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
`;

/** An ext4 on an image. */
export class Disk {
  readonly place: string;
  readonly #image: string;

  /** undefined where there are no loop devices, or not what it takes. */
  static make(t: Test, bytes: number): Disk | undefined {
    const disk = new Disk(workplace(t));
    const missing = skips(t, "an ext4 on an image", () => {
      if (!isThere("python3", "--version")) throw new Error("there is no python3");
      writeFileSync(disk.#image, "");
      truncateSync(disk.#image, bytes);
      command("mkfs.ext4", "-q", "-F", disk.#image);
      disk.#mount();
    });
    return missing ? undefined : disk;
  }

  private constructor(root: string) {
    this.#image = join(root, "image");
    this.place = join(root, "disk");
  }

  /**
   * As if the power had gone: nothing more gets to the disk, neither data nor journal (EXT4_IOC_SHUTDOWN with
   * EXT4_GOING_FLAGS_NOLOGFLUSH). What was written and not synced is lost.
   */
  cutPower(): void {
    command("python3", "-c", SHUTDOWN, this.place);
  }

  /** Whoever had something of it open must be gone. */
  startAnew(): void {
    command("umount", this.place);
    this.#mount();
  }

  #mount(): void {
    // The journal's own timer must not save by chance what nobody synced.
    command("mount", "-o", "loop,commit=300", this.#image, this.place);
  }
}
