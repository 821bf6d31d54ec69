#!/usr/bin/env node
/**
 * The installed command. Any Node from 14 on must be able to read this file: an older one than the program needs gets a
 * sentence, not a syntax error. Everything newer comes after that.
 */
const NEEDED = [24, 20];
const found = process.versions.node.split(".").map(Number);

if (found[0] < NEEDED[0] || (found[0] === NEEDED[0] && found[1] < NEEDED[1])) {
  process.stderr.write(
    "hawser (moves files between machines over many TCP connections) needs Node " +
      NEEDED.join(".") +
      " or later, and this is Node " +
      process.versions.node +
      " (" +
      process.execPath +
      "): install a newer one from nodejs.org.\n",
  );
  process.exitCode = 78;
} else {
  start();
}

function start() {
  const { createRequire } = process.getBuiltinModule("node:module");
  const { fileURLToPath } = process.getBuiltinModule("node:url");
  const main = fileURLToPath(new URL("../dist/program/commands/main.cjs", import.meta.url));
  let program;
  try {
    program = createRequire(import.meta.url)("./load.cjs")(main, cacheDirectory(), process.argv[2]);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
    process.stderr.write(`hawser is not complete: ${error.message}\n  In a clone, run \`npm run build\`.\n`);
    process.exitCode = 78;
    return;
  }
  program.main(process.argv.slice(2));
}

/** Compiled code is kept in the user's own cache directory, and nobody else's: what lies there is run. */
function cacheDirectory() {
  // An import would load all that they have.
  const { existsSync } = process.getBuiltinModule("node:fs");
  const { XDG_CACHE_HOME, HOME, NODE_DISABLE_COMPILE_CACHE } = process.env;
  const home = XDG_CACHE_HOME || HOME;
  if (!home || NODE_DISABLE_COMPILE_CACHE || !existsSync(home)) return undefined;
  return `${XDG_CACHE_HOME || `${HOME}/.cache`}/hawser/code`;
}
