#!/usr/bin/env node
/**
 * The installed command. Any Node from 14 on must be able to read this file: an older one than the program needs gets a
 * sentence, not a syntax error. Everything newer comes after that, through import().
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
  cacheCompiledCode();
  import("../dist/program/commands/main.js").then(
    (program) => program.main(process.argv.slice(2)),
    (error) => {
      if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
      process.stderr.write(`hawser is not complete: ${error.message}\n  In a clone, run \`npm run build\`.\n`);
      process.exitCode = 78;
    },
  );
}

/** Compiled code is kept in the user's own cache directory, and nobody else's: what lies there is run. */
function cacheCompiledCode() {
  // An import would load all that they have.
  const { existsSync } = process.getBuiltinModule("node:fs");
  const { enableCompileCache } = process.getBuiltinModule("node:module");
  const { XDG_CACHE_HOME, HOME } = process.env;
  const cache = XDG_CACHE_HOME || (HOME && `${HOME}/.cache`);
  // A directory that can't be made would keep Node trying for ever.
  const home = XDG_CACHE_HOME || HOME;
  if (cache && existsSync(home)) enableCompileCache(`${cache}/hawser`);
}
