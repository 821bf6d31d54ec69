/**
 * Loads the program's pieces, with what an earlier run of the same command has compiled of them. Node's own cache keeps a
 * module as it was before it ran, which is without most of its functions; here it is kept as it is when a run ends well, so
 * that the next one compiles next to nothing. What lies there is run: it is the user's own cache directory.
 */
"use strict";
const fs = require("node:fs");
const { createRequire } = require("node:module");
const { dirname, join } = require("node:path");
const { pathToFileURL } = require("node:url");
const vm = require("node:vm");

/** Each piece begins with a comment that is this long and says what is in it: V8 only compares lengths. */
const STAMP_CHARS = 66;
const PARAMETERS = ["exports", "require", "module"];

/** `main` in the program's first piece. `cache`: where compiled code may be kept; `command`: what it is kept for. */
module.exports = function load(main, cache, command = "") {
  const home = `${dirname(dirname(main))}/`;
  const modules = new Map();
  const compiled = [];
  // Each command has its own: the first run of one uses what the others don't.
  const name = /^[a-z]{1,20}$/.test(command) ? command : "none";
  const place = cache && join(cache, `${process.version}-${process.arch}`, name, home.replace(/:/g, ""));

  function piece(path) {
    const known = modules.get(path);
    if (known) return known.exports;
    const module = {
      exports: {},
      get url() {
        return pathToFileURL(path).href;
      },
    };
    modules.set(path, module);
    // All is ASCII.
    const code = fs.readFileSync(path, "latin1");
    const kept = place && join(place, `${path.slice(home.length)}.code`);
    const cachedData = kept && keptFor(code, kept);
    // In the same line, so that lines stay what they are.
    const script = new vm.Script(`(function (${PARAMETERS}) {${code}\n})`, { filename: path, cachedData });
    if (kept && (!cachedData || script.cachedDataRejected)) {
      compiled.push({ script, kept, stamp: code.slice(0, STAMP_CHARS) });
    }
    script.runInThisContext().call(module.exports, module.exports, requireFrom(path), module);
    return module.exports;
  }

  /** What is not a piece is Node's to find, and little is. */
  function requireFrom(path) {
    const directory = dirname(path);
    const inside = (id) => {
      if (id[0] === ".") return piece(join(directory, id));
      return id.startsWith(home) ? piece(id) : createRequire(path)(id);
    };
    inside.resolve = (id, options) => createRequire(path).resolve(id, options);
    return inside;
  }

  // A run that failed used little of it.
  process.on("exit", (exitCode) => {
    if (exitCode === 0) for (const each of compiled) keep(each);
  });
  return piece(main);
};

function keptFor(code, path) {
  try {
    const data = fs.readFileSync(path);
    if (data.latin1Slice(0, STAMP_CHARS) === code.slice(0, STAMP_CHARS)) return data.subarray(STAMP_CHARS);
  } catch {
    // It is the first run.
  }
  return undefined;
}

/** All of it or nothing, whatever happens meanwhile: V8 does not check it. */
function keep({ script, kept, stamp }) {
  const half = `${kept}.${process.pid}`;
  try {
    fs.mkdirSync(dirname(kept), { recursive: true, mode: 0o700 });
    const file = fs.openSync(half, "wx", 0o600);
    try {
      fs.writevSync(file, [Buffer.from(stamp, "latin1"), script.createCachedData()]);
      fs.fdatasyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    fs.renameSync(half, kept);
  } catch {
    // It is a help, and nothing that anybody has to have.
    fs.rmSync(half, { force: true });
  }
}
