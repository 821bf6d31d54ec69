/** Trees on the disk: made with names that are bytes, read whole, and compared strictly. */
import {
  chmodSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import type { Test } from "tap";
import { hexCrc32 } from "./files.ts";

/** What an entry is, as far as a transfer promises to keep it. */
export interface Facts {
  readonly kind: "file" | "directory" | "symlink" | "other";
  /** Of all permission bits, setuid and its kind too. */
  readonly mode: number;
  readonly mtimeNs: bigint;
  /** Of a file: its size and its CRC-32. */
  readonly content?: string;
  /** Of a link, byte by byte. */
  readonly target?: string;
  readonly inode: bigint;
  readonly links: bigint;
}

export interface ReadOptions {
  /** Names that are not looked at, wherever they are; the server's own directory unless given. */
  readonly without?: readonly string[];
}

const SLASH = Buffer.from("/");
export const bytesOf = (name: string | Uint8Array): Buffer =>
  typeof name === "string" ? Buffer.from(name) : Buffer.from(name);
export const pathOf = (...parts: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [bytesOf(part)] : [SLASH, bytesOf(part)])));

/** All that is below a directory, by its path there as latin1: each byte is one character. */
export function readTree(top: string | Uint8Array, { without = [".hawser"] }: ReadOptions = {}): Map<string, Facts> {
  const found = new Map<string, Facts>();
  const left: Buffer[] = [Buffer.alloc(0)];
  for (let below = left.pop(); below !== undefined; below = left.pop()) {
    for (const name of readdirSync(pathOf(top, below), { encoding: "buffer" })) {
      if (without.includes(name.toString("latin1"))) continue;
      const relative = below.length === 0 ? name : pathOf(below, name);
      const facts = factsOf(pathOf(top, relative));
      found.set(relative.toString("latin1"), facts);
      if (facts.kind === "directory") left.push(relative);
    }
  }
  return found;
}

export function factsOf(path: Buffer): Facts {
  const stats = lstatSync(path, { bigint: true });
  const { mtimeNs, ino: inode, nlink: links } = stats;
  const common = { mode: Number(stats.mode & 0o7777n), mtimeNs, inode, links };
  if (stats.isDirectory()) return { kind: "directory", ...common };
  if (stats.isSymbolicLink()) {
    return { kind: "symlink", ...common, target: readlinkSync(path, { encoding: "buffer" }).toString("latin1") };
  }
  if (!stats.isFile()) return { kind: "other", ...common };
  const content = readFileSync(path);
  return { kind: "file", ...common, content: `${content.length} bytes, ${hexCrc32(content)}` };
}

export interface CompareOptions {
  /** What the server's mask takes from permission bits (0o022). */
  readonly mask?: number;
  /** Of what is there, what need not be the same: by its path, as `readTree` says it. */
  readonly ignore?: (path: string) => boolean;
}

/** Times come through a double of seconds: a microsecond's worth of difference is none. */
const SAME_NS = 1000n;

/** Every difference between a tree and its copy, one a line. */
export function differences(
  from: ReadonlyMap<string, Facts>,
  to: ReadonlyMap<string, Facts>,
  { mask = 0o022, ignore = () => false }: CompareOptions = {},
): string[] {
  const found: string[] = [];
  for (const [path, ours] of from) {
    if (ignore(path)) continue;
    const theirs = to.get(path);
    const say = (what: string, a: unknown, b: unknown) => found.push(`${path}: ${what} ${a} is ${b}`);
    if (theirs === undefined) {
      found.push(`${path}: missing`);
      continue;
    }
    if (ours.kind !== theirs.kind) say("a", ours.kind, `a ${theirs.kind}`);
    if (ours.content !== theirs.content) say("content", ours.content, theirs.content);
    if (ours.target !== theirs.target) say("target", ours.target, theirs.target);
    const apart = ours.mtimeNs - theirs.mtimeNs;
    if (apart > SAME_NS || apart < -SAME_NS) say("mtime", ours.mtimeNs, theirs.mtimeNs);
    // A link has no mode of its own; nobody's ownership comes along, and so neither does setuid.
    const mode = ours.mode & 0o777 & ~mask;
    if (ours.kind !== "symlink" && mode !== theirs.mode) say("mode", mode.toString(8), theirs.mode.toString(8));
    if (theirs.kind === "file" && theirs.links !== 1n) say("links", 1, theirs.links);
  }
  for (const path of to.keys()) if (!from.has(path) && !ignore(path)) found.push(`${path}: nobody sent it`);
  return found.sort();
}

/** The copy is the same in all that is promised, and nothing else is there. */
export function assertSameTree(
  t: Test,
  from: string | Uint8Array,
  to: string | Uint8Array,
  options: CompareOptions & ReadOptions = {},
  what = "the tree is the same",
): void {
  const [ours, theirs] = [readTree(from, options), readTree(to, options)];
  const found = differences(ours, theirs, options);
  t.same(
    found.slice(0, 20),
    [],
    `${what}: ${ours.size} entries${found.length > 20 ? `, and ${found.length} differ` : ""}`,
  );
}

/** What is to be made of an entry. */
export interface Plant {
  readonly kind: "file" | "directory" | "symlink";
  readonly content?: Uint8Array;
  readonly target?: Uint8Array;
  readonly mode?: number;
  /** In seconds, as exactly as a double holds them. */
  readonly mtime?: number;
}

/** Makes entries below a directory, each after what leads to it; times and modes last, from the deepest up. */
export function plant(top: string, plants: ReadonlyMap<string, Plant>): void {
  const pathOf = (name: string) => Buffer.from(`${Buffer.from(top).toString("latin1")}/${name}`, "latin1");
  const names = [...plants.keys()].sort();
  for (const name of names) {
    const { kind, content = Buffer.alloc(0), target = Buffer.from("x") } = plants.get(name) as Plant;
    if (kind === "directory") mkdirSync(pathOf(name), { recursive: true });
    else if (kind === "symlink") symlinkSync(Buffer.from(target), pathOf(name));
    else writeFileSync(pathOf(name), content);
  }
  for (const name of names.reverse()) {
    const { kind, mode, mtime } = plants.get(name) as Plant;
    if (mode !== undefined && kind !== "symlink") chmodSync(pathOf(name), mode);
    if (mtime === undefined) continue;
    const time = mtime < 0 ? new Date(mtime * 1000) : mtime;
    if (kind === "symlink") lutimesSync(pathOf(name), time, time);
    else utimesSync(pathOf(name), time, time);
  }
}
