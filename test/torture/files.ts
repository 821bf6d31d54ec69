/** The files of a case: made from its draws, and looked for at the destination, byte by byte. */
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readdirSync, readSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { contentOf, hexCrc32, KIB, MIB } from "../helpers/files.ts";
import type { Case, Failure } from "./case.ts";
import type { Draw } from "./draw.ts";

export interface SourceFile {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  readonly crc32: string;
  /** What is named to send it: itself, unless given. */
  readonly top?: string;
}

/** What a client is given to send all of them. */
export const pathsOf = (sources: readonly SourceFile[]): string[] => [
  ...new Set(sources.map(({ path, top = path }) => top)),
];

/** From nothing to `most` bytes: small ones are the many, and ones around a chunk's border are there too. */
export function drawBytes(draw: Draw, chunkBytes: number, most: number): number {
  if (draw.chance(0.1)) return 0;
  if (draw.chance(0.15)) return Math.min(most, Math.max(0, draw.whole(1, 4) * chunkBytes + draw.whole(-1, 1)));
  return draw.chance(0.4) ? draw.log(Math.min(most, 2 * MIB), most) : draw.log(1, most);
}

export const drawChunkBytes = (draw: Draw): number => draw.pick([64, 128, 256, 512, 1024, 2048, 4096]) * KIB;

/** How often files are accompanied by a tree of small ones. */
const TREES = 0.4;
const TREE_FILES = 2500;
const TREE_FILE_BYTES = 12 * KIB;

/** Files of one to `most` bytes, `total` at most together; with them goes, now and then, a tree of small files. */
export function makeSources(it: Case, options: Parameters<typeof makeFiles>[1]): SourceFile[] {
  const hasTree = it.draw.chance(TREES);
  return [...makeFiles(it, options), ...(hasTree ? makeTree(it) : [])];
}

/** Up to some thousand, a few too large for a bundle, in directories that are wide, deep or neither. */
function makeTree(it: Case): SourceFile[] {
  const { draw } = it;
  const top = join(it.directory("from"), "tree");
  const count = draw.log(10, TREE_FILES);
  const [wide, deep] = [draw.log(1, 40), draw.whole(0, 4)];
  const first = draw.whole(1, 2 ** 30);
  it.note(`source tree: ${count} files`);
  return draw.list(count, (index) => {
    const bytes = draw.chance(0.002) ? draw.log(MIB, 2 * MIB) : draw.log(1, TREE_FILE_BYTES) - 1;
    const below = "deep/".repeat(index % (deep + 1));
    const name = `tree/${below}d${index % wide}/f${index}`;
    const path = join(top, "..", name);
    const content = contentOf(bytes, first + index);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return { name, path, bytes, crc32: hexCrc32(content), top };
  });
}

function makeFiles(
  it: Case,
  { count, chunkBytes, most, total }: { count: number; chunkBytes: number; most: number; total: number },
): SourceFile[] {
  const directory = it.directory("from");
  let left = total;
  return it.draw.list(count, (index) => {
    // The first is large in most cases: something has to last until it is interrupted.
    const drawn =
      index === 0 && it.draw.chance(0.6) ? it.draw.log(most / 16, most) : drawBytes(it.draw, chunkBytes, most);
    const bytes = Math.min(left, drawn);
    left -= bytes;
    const seed = it.draw.whole(1, 2 ** 31);
    const name = `file-${index}`;
    const path = join(directory, name);
    const content = contentOf(bytes, seed);
    writeFileSync(path, content);
    const file = { name, path, bytes, crc32: hexCrc32(content) };
    it.note(`source ${name}: ${bytes} bytes, CRC-32 ${file.crc32}`);
    return file;
  });
}

/** What a client is told of one file. */
export interface ToldFile {
  readonly name: string;
  readonly bytes: number;
  readonly crc32: string | null;
  readonly status: string;
}

/** Files that are safe when their client has heard so. */
const ACKNOWLEDGED = new Set(["sent", "resumed", "unchanged"]);

/** One directory that receives the files, and what was promised of it. */
export class Destination {
  readonly #case: Case;
  readonly #served: string;
  readonly #into: string;
  readonly #sources: readonly SourceFile[];
  readonly #acknowledged = new Set<string>();
  readonly #inodes = new Map<string, bigint>();
  /** Files that failed already: once is enough. */
  readonly #failed = new Set<string>();

  /** `into` is below the served directory, or empty. */
  constructor(it: Case, served: string, into: string, sources: readonly SourceFile[]) {
    this.#case = it;
    this.#served = served;
    this.#into = into;
    this.#sources = sources;
  }

  /** The client has heard that a file is safe. */
  heard(file: ToldFile): void {
    if (ACKNOWLEDGED.has(file.status)) this.#acknowledged.add(file.name);
    else this.#case.note(`told of ${file.name}: ${file.status}`);
  }

  /** After a power cut only what was acknowledged has to be there. */
  afterCut(): void {
    for (const source of this.#sources) {
      if (!this.#acknowledged.has(this.#toldName(source))) this.#inodes.delete(source.name);
    }
  }

  /** Whatever has its name is the file, stays it, and what was acknowledged has its name. */
  check(when: string): void {
    for (const source of this.#sources) this.#checkFile(source, this.#acknowledged.has(this.#toldName(source)), when);
  }

  /** Everything is there, everything was said, and nothing else lies about. */
  checkComplete(told: readonly ToldFile[]): void {
    const it = this.#case;
    const byName = new Map(told.map((file) => [file.name, file]));
    if (byName.size !== this.#sources.length) it.fail("other", `${byName.size} files in the receipt`);
    for (const source of this.#sources) {
      const file = byName.get(this.#toldName(source));
      // What was there already and was compared need not have been summed.
      const isRight = file?.crc32 === source.crc32 || (file?.status === "unchanged" && file.crc32 === null);
      if (file === undefined || !ACKNOWLEDGED.has(file.status) || file.bytes !== source.bytes || !isRight) {
        it.fail("other", `the receipt says ${JSON.stringify(file)} of ${JSON.stringify(source)}`);
      }
      this.#checkFile(source, true, "after exit 0");
    }
    this.#checkNothingElse();
  }

  #toldName({ name }: SourceFile): string {
    return this.#into === "" ? name : `${this.#into}/${name}`;
  }

  #checkFile(source: SourceFile, isAcknowledged: boolean, when: string): void {
    const { name } = source;
    if (this.#failed.has(name)) return;
    const failure = existsSync(join(this.#served, this.#into, name))
      ? this.#whatIsWrong(source)
      : this.#whyMissed(name, isAcknowledged);
    if (failure === undefined) return;
    this.#failed.add(name);
    const what = isAcknowledged ? "acknowledged" : "not acknowledged";
    this.#case.fail(failure.kind, `${name} (${what}) ${failure.message}, ${when}`);
  }

  #whyMissed(name: string, isAcknowledged: boolean): Failure | undefined {
    if (isAcknowledged) return { kind: "lost", message: "is not there" };
    return this.#inodes.has(name) ? { kind: "lost", message: "was there and is not any more" } : undefined;
  }

  #whatIsWrong({ name, path, bytes }: SourceFile): Failure | undefined {
    const found = openSync(join(this.#served, this.#into, name), "r");
    try {
      const { ino, size } = fstatSync(found, { bigint: true });
      const before = this.#inodes.get(name);
      this.#inodes.set(name, ino);
      if (before !== undefined && before !== ino) return { kind: "wrong file", message: "is another inode" };
      if (Number(size) !== bytes) return { kind: "wrong file", message: `has ${size} bytes and not ${bytes}` };
      const at = firstDifference(found, path);
      return at === undefined ? undefined : { kind: "wrong file", message: `differs at ${at}` };
    } finally {
      closeSync(found);
    }
  }

  #checkNothingElse(): void {
    const it = this.#case;
    const parts = readdirSync(join(this.#served, ".hawser", "parts"));
    if (parts.length > 0) it.fail("left-over part", parts.join(" "));
    const names = new Set(this.#sources.map(({ name }) => name));
    const top = join(this.#served, this.#into);
    const found = [
      ...readdirSync(top, { withFileTypes: true }),
      ...(names.size > 0 && existsSync(join(top, "tree"))
        ? readdirSync(join(top, "tree"), { withFileTypes: true, recursive: true })
        : []),
    ];
    for (const entry of found) {
      const name = join(entry.parentPath, entry.name).slice(top.length + 1);
      if (entry.isFile() && !names.has(name)) it.fail("other", `there is a file '${name}'`);
    }
  }
}

const [ours, theirs] = [Buffer.allocUnsafeSlow(MIB), Buffer.allocUnsafeSlow(MIB)];

/** Where an open file and the one at `path` differ; undefined where they don't. */
function firstDifference(found: number, path: string): number | undefined {
  const source = openSync(path, "r");
  try {
    for (let at = 0; ; ) {
      const count = readSync(source, ours, 0, MIB, at);
      const there = readSync(found, theirs, 0, MIB, at);
      if (count !== there) return at + Math.min(count, there);
      if (count === 0) return undefined;
      if (Buffer.compare(ours.subarray(0, count), theirs.subarray(0, count)) !== 0) {
        return at + ours.findIndex((byte, index) => byte !== theirs[index]);
      }
      at += count;
    }
  } finally {
    closeSync(source);
  }
}
