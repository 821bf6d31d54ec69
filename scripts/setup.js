/**
 * Brings a clone to where it can run: dependencies as the lock file says, and with --build the compiled code. What is
 * there already is not done again. Runs before other scripts, on whatever Node the machine has, so: old syntax only,
 * and nothing but Node's own modules.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const hash = createHash("sha256");
for (const file of ["package.json", "package-lock.json"]) hash.update(readFileSync(join(root, file)));
const wanted = hash.digest("hex");

const stamp = join(root, "node_modules", ".hawser-installed");
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
  console.error("hawser: installing dependencies (once)");
  run("npm", ["ci", "--no-fund", "--no-audit", "--loglevel=error"]);
  writeFileSync(stamp, wanted);
}
if (process.argv.includes("--build")) {
  run(process.execPath, [join(root, "scripts", "build.js"), "--if-changed"]);
}

function run(command, args) {
  // Standard output belongs to the command that this prepares for.
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (error) console.error(`hawser: ${command}: ${error.message}`);
  if (status !== 0) process.exit(status || 1);
}
