/**
 * Compiles src into dist, and makes the program of it. With --if-changed only when a source is not the one that dist was made from. Runs on any Node,
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
for (const file of ["package.json", "tsconfig.json", "tsconfig.build.json", "scripts/bundle.js", ...sources("src")]) {
  hash
    .update(file)
    .update("\0")
    .update(readFileSync(join(root, file)));
}
const wanted = hash.digest("hex");

const current = existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
if (!current || !process.argv.includes("--if-changed")) {
  rmSync(dist, { recursive: true, force: true });
  run(process.execPath, join("node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json");
  // The bundler wants a newer Node than this may be.
  const node = join(root, "node_modules", "node", "bin", "node");
  run(existsSync(node) ? node : process.execPath, join("scripts", "bundle.js"));
  writeFileSync(stamp, wanted);
}

function run(command, ...args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (status !== 0) process.exit(status || 1);
}

function sources(directory) {
  return readdirSync(join(root, directory), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? sources(join(directory, entry.name)) : [join(directory, entry.name)]));
}
