/**
 * Compiles src into dist. With --if-changed only when a source is not the one that dist was made from. Runs on any Node,
 * since it may run before the project's own is first on the PATH.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");
const stamp = join(dist, ".built-from");

const hash = createHash("sha256");
for (const file of ["package.json", "tsconfig.json", "tsconfig.build.json", ...sources("src")]) {
  hash
    .update(file)
    .update("\0")
    .update(readFileSync(join(root, file)));
}
const wanted = hash.digest("hex");

const current = existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
if (!current || !process.argv.includes("--if-changed")) {
  rmSync(dist, { recursive: true, force: true });
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (status !== 0) process.exit(status || 1);
  writeFileSync(stamp, wanted);
}

function sources(directory) {
  return readdirSync(join(root, directory), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? sources(join(directory, entry.name)) : [join(directory, entry.name)]));
}
