/**
 * Makes the program that is installed, in dist/program: what bin/run.js enters, with all that only the program uses, in a
 * few files instead of some hundreds. The library (dist/index.js) has no part in it.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * What is loaded together is one file, or a few: a file costs half a millisecond to find and link, and the bundler makes
 * one of whatever several parts have in common, some forty for a `send`. But what may go without the other stays apart,
 * because what is not in a file need not be read.
 */
const COMMAND = ["commands/program.ts", "commands/send.ts", "cli/transfer.ts", "client/send.ts"];

/** What a small transfer in plain has no use for, and takes long to load: its functions and classes load it when they are used. */
const LATER = new Set(["node:child_process", "node:crypto", "node:zlib"]);

/** What each file has at its beginning: the clock, in milliseconds. */
const BANNER = `const clockMs = () => { const [s, ns] = process.hrtime(); return s * 1e3 + ns / 1e6; };`;

const COMMON = {
  absWorkingDir: root,
  outdir: "dist/program",
  outbase: "src",
  outExtension: { ".js": ".cjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node24",
  // Names and lines stay as they are: a bug's trace is read by people.
  minifySyntax: true,
  sourcemap: "linked",
  sourcesContent: false,
  // Native modules find their binaries beside themselves; the compiler serves plugins of oclif, which there are none of.
  external: ["@napi-rs/blake-hash", "@node-rs/crc32", "typescript"],
  banner: { js: BANNER },
  // The global `performance` loads all that node:perf_hooks has.
  define: { "performance.now": "clockMs" },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};
const BUILTINS = { name: "built-in modules bit by bit", setup: takeBuiltins };

const program = await build({
  ...COMMON,
  // index.ts is what oclif's help is told to read.
  entryPoints: ["src/commands/main.ts", "src/commands/index.ts"],
  // As deep as commands/, so that paths hold from both.
  chunkNames: "chunks/[name]-[hash]",
  splitting: true,
  plugins: [{ name: "oclif bit by bit", setup: loadLazily }, { name: "in few pieces", setup: keepTogether }, BUILTINS],
  write: false,
});
await writeScripts(program.outputFiles);

// A worker thread is a program of its own: in one file, it shares none with the other, whose pieces stay as they are.
const worker = await build({
  ...COMMON,
  format: "cjs",
  define: { ...COMMON.define, "import.meta.url": "moduleUrl" },
  banner: { js: `${BANNER}\nconst moduleUrl = require("node:url").pathToFileURL(__filename).href;` },
  entryPoints: ["src/client/worker.ts"],
  plugins: [BUILTINS],
});

writeFileSync(join(root, "dist", "program", "LICENSES.txt"), licenses());

async function writeScripts(outputFiles) {
  const maps = new Map(outputFiles.filter(({ path }) => path.endsWith(".map")).map(({ path, text }) => [path, text]));
  for (const { path, text } of outputFiles) {
    if (maps.has(path)) continue;
    const { code, map } = await asScript(text, maps.get(`${path}.map`), path);
    const stamp = createHash("sha256").update(code).digest("hex");
    mkdirSync(dirname(path), { recursive: true });
    // The map counts one line more; bin/load.cjs wants the stamp where the file begins.
    writeFileSync(path, `//${stamp}\n${code}//# sourceMappingURL=${basename(path)}.map\n`);
    writeFileSync(`${path}.map`, map);
  }
}

/**
 * A piece as bin/load.cjs runs it: only the bundler's modules can be cut in pieces, and only of a script keeps V8 what
 * it compiled. The map still leads to the sources.
 */
async function asScript(module, map, path) {
  const inline = `//# sourceMappingURL=data:application/json;base64,${Buffer.from(map).toString("base64")}`;
  const { code, map: mapped } = await transform(module.replace(/^\/\/# sourceMappingURL=.*$/m, inline), {
    format: "cjs",
    platform: "node",
    target: "node24",
    define: { "import.meta.url": "module.url" },
    supported: { "dynamic-import": false },
    sourcemap: "external",
    sourcefile: path,
    sourcesContent: false,
    logLevel: "warning",
  });
  const { mappings, ...rest } = JSON.parse(mapped);
  // The stamp's line, and what the sources are relative to.
  return { code, map: JSON.stringify({ ...rest, mappings: `;${mappings}` }) };
}

/**
 * oclif as TypeScript compiled it requires at once whatever it may need some day: its parser has the help, the help has
 * the configuration, and this has the plugins. Each `require` waits here until its module is used.
 */
function loadLazily({ onLoad }) {
  // What TypeScript makes of an import: `const name_1 = require("name");`.
  const required = /^(?:const|var) (\w+_\d+) = ((?:__import(?:Default|Star)\()?require\("[^"]+"\)\)?);$/gm;
  const modules = "const modules = { add: (name, get) => Object.defineProperty(modules, name, { get }) };";
  onLoad({ filter: /[\\/]@oclif[\\/]core[\\/]lib[\\/].*\.js$/ }, ({ path }) => {
    const source = readFileSync(path, "utf8");
    const names = [...source.matchAll(required)].map(([, name]) => name);
    if (names.length === 0) return undefined;
    const waiting = source.replace(required, (_, name, module) => `modules.add("${name}", () => ${module});`);
    const used = new RegExp(`(?<!")\\b(?:${names.join("|")})\\b`, "g");
    return { contents: modules + waiting.replace(used, (name) => `modules.${name}`) };
  });
}

/** What is loaded later imports all that it may have in common with others: then they have it all in common. */
function keepTogether({ onLoad, onResolve }) {
  const src = join(root, "src");
  const paths = readdirSync(src, { recursive: true }).filter((path) => path.endsWith(".ts"));
  const later = paths.flatMap((path) => {
    const imported = readFileSync(join(src, path), "utf8").matchAll(/\bimport\("(\.[^"]+)"\)/g);
    return [...imported].map(([, to]) => join(dirname(path), to));
  });
  const groups = { command: { files: COMMAND, of: later } };
  onResolve({ filter: /^together:/ }, ({ path }) => ({ path: path.slice(9), namespace: "together" }));
  onLoad({ filter: /.*/, namespace: "together" }, ({ path }) => ({
    contents: groups[path].files.map((file) => `import "./${file}";`).join("\n"),
    resolveDir: src,
  }));
  onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
    const names = Object.keys(groups).filter((name) => groups[name].of.includes(relative(src, path)));
    if (names.length === 0) return undefined;
    const imports = names.map((name) => `import "together:${name}";`);
    return { contents: [readFileSync(path, "utf8"), ...imports].join("\n"), loader: "ts" };
  });
}

/**
 * An `import` of one of Node's own modules reads all that this exports, and with that loads what is made when it is first
 * read: node:fs has streams and promises, node:util has threads. Here only what is used is taken out of each.
 */
function takeBuiltins({ onLoad, onResolve }) {
  onResolve({ filter: /^node:/ }, ({ path, kind, importer }) =>
    // A module that several have in common would be a file.
    kind === "import-statement" ? { path, namespace: "builtin", suffix: `?${importer}` } : { external: true },
  );
  onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => {
    const all = process.getBuiltinModule(path);
    const names = Object.keys(all).filter((name) => name !== "default");
    const taker = (name) => {
      if (!LATER.has(path)) return "take";
      if (name === "constants") return "laterOf";
      return typeof all[name] === "function" ? "later" : "take";
    };
    const exported = names.map((name) => `export const ${name} = /* @__PURE__ */ ${taker(name)}("${name}");`);
    const taken = [
      `const from = () => process.getBuiltinModule("${path}");`,
      "const take = (name) => from()[name];",
      "const later = (name) => function (...given) { return new.target ? new (take(name))(...given) : take(name)(...given); };",
      "const laterOf = (name) => new Proxy({}, { get: (_, key) => take(name)[key] });",
    ];
    return { contents: [...taken, ...exported, "export default /* @__PURE__ */ from();"].join("\n") };
  });
}

/** The licences of all that became part of the program, each with its package's name and version. */
function licenses() {
  const inputs = [program, worker]
    .flatMap(({ metafile }) => Object.values(metafile.outputs))
    .flatMap(({ inputs }) => Object.keys(inputs));
  const homes = new Set(
    inputs.map((path) => /^node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]).filter(Boolean),
  );
  const texts = [...homes].sort().map((home) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, home, "package.json"), "utf8"));
    const file = readdirSync(join(root, home)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? `Licence: ${license}` : readFileSync(join(root, home, file), "utf8").trim();
    return `${name} ${version}\n\n${text}\n`;
  });
  return `This program contains:\n\n${texts.join(`\n${"-".repeat(80)}\n\n`)}`;
}
