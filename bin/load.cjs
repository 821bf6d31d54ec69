/**
 * Loads the program's pieces, with what an earlier run of the same command has compiled of them. Node's own cache keeps a
 * module as it was before it ran, which is without most of its functions; here it is kept as it is when a run ends well, so
 * that the next one compiles next to nothing. What lies there is run, and V8 believes it: only what this user alone can have
 * put there is used, and only undamaged. Nothing about it changes what a command says, or how it ends.
 */
"use strict";
const fs = require("node:fs");
const { createRequire } = require("node:module");
const { dirname, join } = require("node:path");
const { pathToFileURL } = require("node:url");
const vm = require("node:vm");

/** Each piece begins with a comment that is this long and says what is in it: V8 only compares lengths. */
const STAMP_CHARS = 66;
/** What is kept begins with the stamp and the CRC-32 of the rest. */
const HEAD_BYTES = STAMP_CHARS + 4;
const WRITABLE_BY_OTHERS = 0o022;
const PARAMETERS = ["exports", "require", "module"];

/**
 * `main` is the program's first piece; `steps`: the directory that has to be there for compiled code to be kept, and the names
 * below it that lead to where it is; `command`: what it is kept for.
 */
module.exports = function load(main, steps, command = "") {
  const home = `${dirname(dirname(main))}/`;
  const modules = new Map();
  const compiled = [];
  // Each command has its own: the first run of one uses what the others don't.
  const name = /^[a-z]{1,20}$/.test(command) ? command : "none";
  const cache = steps && ownDirectory(steps);
  const ofThisNode = cache && join(cache, `${process.version}-${process.arch}`);
  const place = ofThisNode && join(ofThisNode, name, home.replace(/:/g, ""));

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
    if (exitCode !== 0 || compiled.length === 0) return;
    dropOthers(cache, ofThisNode);
    for (const each of compiled) keep(each);
  });
  return piece(main);
};

/** Nobody else can have put it there or can change it. Where users have no ids (Windows) that can't be told: nothing is kept. */
function isOwn(stats) {
  return stats.uid === process.geteuid?.() && (stats.mode & WRITABLE_BY_OTHERS) === 0;
}

/** Where the steps lead, if all that is there of them is this user's own; what is not there yet may be made. */
function ownDirectory([base, ...names]) {
  let path = base;
  try {
    const stats = fs.statSync(base);
    if (!stats.isDirectory() || !isOwn(stats)) return undefined;
    for (const [index, name] of names.entries()) {
      path = join(path, name);
      // A user may have moved ~/.cache to another disk; the last is ours, and no link.
      const look = index < names.length - 1 ? fs.statSync : fs.lstatSync;
      const there = look(path, { throwIfNoEntry: false });
      if (there && !(there.isDirectory() && isOwn(there))) return undefined;
    }
  } catch {
    return undefined;
  }
  return path;
}

function keptFor(code, path) {
  try {
    const stats = fs.lstatSync(path, { throwIfNoEntry: false });
    if (!stats?.isFile() || !isOwn(stats)) return undefined;
    const kept = fs.readFileSync(path);
    if (kept.latin1Slice(0, STAMP_CHARS) !== code.slice(0, STAMP_CHARS)) return undefined;
    const data = kept.subarray(HEAD_BYTES);
    return kept.readUInt32LE(STAMP_CHARS) === crc32(data) ? data : undefined;
  } catch {
    // It can't be read, or is shorter than its head.
    return undefined;
  }
}

/** Loaded when there is something to sum. */
function crc32(data) {
  return process.getBuiltinModule("node:zlib").crc32(data);
}

/** What other versions of Node compiled gives way when the first of this one is kept: else each would leave its own for good. */
function dropOthers(cache, ofThisNode) {
  try {
    if (fs.mkdirSync(ofThisNode, { recursive: true, mode: 0o700 }) === undefined) return;
    for (const { name } of fs.readdirSync(cache, { withFileTypes: true })) {
      // Other processors of the same home have the same version.
      if (!/^v\d/.test(name) || name.startsWith(`${process.version}-`)) continue;
      const path = join(cache, name);
      const stats = fs.lstatSync(path);
      if (stats.isDirectory() && isOwn(stats)) fs.rmSync(path, { recursive: true, force: true });
    }
  } catch {
    // What is left takes room, and no more.
  }
}

/** All of it or nothing, whatever happens meanwhile. */
function keep({ script, kept, stamp }) {
  const half = `${kept}.${process.pid}`;
  try {
    fs.mkdirSync(dirname(kept), { recursive: true, mode: 0o700 });
    const file = fs.openSync(half, "wx", 0o600);
    try {
      const data = script.createCachedData();
      const head = Buffer.alloc(HEAD_BYTES);
      head.write(stamp, "latin1");
      head.writeUInt32LE(crc32(data), STAMP_CHARS);
      fs.writevSync(file, [head, data]);
      fs.fdatasyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    fs.renameSync(half, kept);
  } catch {
    // It is a help, and nothing that anybody has to have.
    try {
      fs.rmSync(half, { force: true });
    } catch {
      // There is none, or none that can be removed: a thrown error would be how the command ends.
    }
  }
}
