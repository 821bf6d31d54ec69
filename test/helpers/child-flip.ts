/**
 * A hostile local user as a program of its own: for as long as it lives it makes of directories and files links that lead
 * out, FIFOs, nothing, and themselves again, as fast as it can. Its argument says which; it says how often at the end.
 */
import { linkSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { randomFrom } from "./random.ts";

export interface Flips {
  /** Directories, and files, that it may write beside. */
  readonly directories: readonly string[];
  readonly files: readonly string[];
  /** Where links lead: a directory, and a file. */
  readonly outside: string;
  readonly secret: string;
  readonly fifo: string;
  readonly ms: number;
  readonly seed: number;
}

const { directories, files, outside, secret, fifo, ms, seed } = JSON.parse(process.argv[2] ?? "") as Flips;
const draw = randomFrom(seed);
let flips = 0;
let lost = 0;

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // The server was faster.
  }
}

/** So long it stays as it is: mostly not at all, sometimes for what a server needs to go one step further. */
function stay(): void {
  const until = performance.now() + draw() ** 4 * 3;
  while (performance.now() < until);
}

function flipDirectory(path: string): void {
  tryTo(() => renameSync(path, `${path}.away`));
  const kind = draw();
  if (kind < 0.7) tryTo(() => symlinkSync(outside, path));
  else if (kind < 0.9) tryTo(() => linkSync(fifo, path));
  stay();
  tryTo(() => unlinkSync(path));
  // The server may have made one meanwhile.
  tryTo(() => renameSync(path, `${path}.lost${lost++}`));
  tryTo(() => renameSync(`${path}.away`, path));
  tryTo(() => mkdirSync(path));
}

function flipFile(path: string): void {
  tryTo(() => unlinkSync(path));
  tryTo(() => (draw() < 0.6 ? symlinkSync(secret, path) : linkSync(fifo, path)));
  stay();
  tryTo(() => unlinkSync(path));
  if (draw() < 0.5) tryTo(() => writeFileSync(path, "the attacker's", { flag: "wx" }));
}

const until = Date.now() + ms;
while (Date.now() < until) {
  for (const path of directories) flipDirectory(path);
  for (const path of files) flipFile(path);
  flips += directories.length + files.length;
  stay();
}
for (const path of files) rmSync(path, { force: true });
process.stdout.write(`${flips}\n`);
