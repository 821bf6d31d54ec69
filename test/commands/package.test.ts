/** What an installed package is: the files that npm packs, beside what package.json says it depends on, and nothing else. */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { run, startServe } from "./program.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Whatever is loaded has to be found, read and linked. Somewhat more than it is, and much less than a compiler. */
const LOADED_BYTES_MAX = 1.25 * 1024 * 1024;
const LOADED_FILES_MAX = 24;

const packed: string[] = JSON.parse(
  execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }),
)[0].files.map(({ path }: { path: string }) => path);

/** As `npm install --omit=dev` leaves it, where nothing else is found above it; what it depends on is linked. */
function install(t: Test): { bin: string; dir: string } {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "hawser-package-")));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const modules = join(dir, "node_modules");
  const home = join(modules, "hawser");
  for (const path of packed) {
    mkdirSync(dirname(join(home, path)), { recursive: true });
    cpSync(join(ROOT, path), join(home, path));
  }
  const { dependencies } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
  }
  return { bin: join(home, "bin", "run.js"), dir };
}

/** What Node loads for the program is written to a file when it ends. */
const RECORDING = `
  import fs, { writeFileSync } from "node:fs";
  import { registerHooks } from "node:module";
  const urls = [];
  registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) });
  // Pieces of the program are read by bin/load.cjs.
  const { readFileSync } = fs;
  fs.readFileSync = (path, ...more) => {
    if (String(path).endsWith(".cjs")) urls.push("file://" + path);
    return readFileSync(path, ...more);
  };
  process.on("exit", () => writeFileSync(process.env.LOADED, urls.join("\\n")));
`;

function recordTo(file: string): Record<string, string> {
  return {
    NODE_DISABLE_COMPILE_CACHE: "1",
    LOADED: file,
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(RECORDING)}`,
  };
}

/** The files that were loaded, from the program's first on, and how many bytes they have. */
function loaded(record: string): { files: string[]; bytes: number } {
  const urls = readFileSync(record, "utf8").split("\n");
  const own = urls.slice(urls.findIndex((url) => url.endsWith("/hawser/bin/run.js")));
  const files = [...new Set(own.filter((url) => url.startsWith("file:")).map((url) => fileURLToPath(url)))];
  return { files, bytes: files.reduce((sum, file) => sum + statSync(file).size, 0) };
}

t.test("the package has the program, the library and the licences of what the program contains", async (t) => {
  for (const path of [
    "bin/run.js",
    "bin/load.cjs",
    "dist/program/commands/main.cjs",
    "dist/index.js",
    "dist/index.d.ts",
  ]) {
    t.ok(packed.includes(path), path);
  }
  t.notOk(
    packed.some((path) => /^(?:src|test|scripts|dist\/c(?:li|ommands))\//.test(path)),
    "and nothing that nobody can reach",
  );
  const licenses = readFileSync(join(ROOT, "dist/program/LICENSES.txt"), "utf8");
  for (const name of ["@oclif/core", "msgpackr", "valibot", "ansi-escapes"])
    t.match(licenses, new RegExp(`^${name} \\d`, "m"));
  t.notMatch(licenses, /^typescript \d/m);
});

t.test("an installed package works, from few files", async (t) => {
  const { bin, dir: home } = install(t);
  const [version, help, send] = ["version", "help", "send"].map((name) => join(home, name)) as [string, string, string];
  t.match(await run(["--version"], { bin, env: recordTo(version) }), { code: 0, out: /^hawser\/\d/ });
  t.match(await run(["send", "--help"], { bin, env: recordTo(help) }), { code: 0, out: /\$ hawser send PATH/ });
  t.match(await run(["sned"], { bin }), { code: 2, err: /Did you mean send\?/ });

  const [dir, file] = [join(home, "in"), join(home, "a file")];
  mkdirSync(dir);
  writeFileSync(file, "hawser");
  const server = await startServe(dir, [], { bin });
  t.match(await run(["send", file, "--to", server.address], { bin, env: recordTo(send) }), { code: 0, err: "" });
  t.equal(readFileSync(join(dir, "a file"), "utf8"), "hawser");
  t.equal((await server.stop()).code, 0);

  for (const record of [version, help, send]) {
    const { files, bytes } = loaded(record);
    t.ok(files.length > 1 && files.length <= LOADED_FILES_MAX, `${basename(record)}: ${files.length} files`);
    t.ok(bytes <= LOADED_BYTES_MAX, `${basename(record)}: ${bytes} bytes`);
    const others = files.filter((path) => !path.startsWith(home));
    t.same(others, [], "no dependency: neither help nor a small file needs a native module");
  }
  t.ok(loaded(version).bytes < 24 * 1024, "and the version nearly nothing");
});

t.test("what an installed program loads when it is needed", async (t) => {
  const { bin, dir: home } = install(t);
  const config = join(home, "hawser");
  mkdirSync(config);
  writeFileSync(join(config, "config.toml"), '[demo]\nquiet = true\nstreams = "2"\n');
  const env = { XDG_CONFIG_HOME: home, XDG_STATE_HOME: home };
  t.match(await run(["demo", "--size", "32MiB", "-v"], { bin, env }), {
    code: 0,
    err: /streams is 2, from .*config\.toml/,
  });
  // The native modules: there is much to sum, and something to digest.
  const [dir, file] = [join(home, "in"), join(home, "large")];
  mkdirSync(dir);
  writeFileSync(file, Buffer.alloc(16 * 1024 * 1024, "hawser"));
  const server = await startServe(dir, [], { bin });
  const verified = await run(["send", file, "--to", server.address, "--verify", "full"], { bin });
  t.match(verified, { code: 0, err: "", out: /^[0-9a-f]{64} {2}large$/m });
  await server.stop();
  t.match(await run(["history", dir], { bin }), { code: 0, out: /large/ });
});

t.test("the library of an installed package", async (t) => {
  const { dir } = install(t);
  const script = join(dir, "script.mjs");
  writeFileSync(
    script,
    `import { send, serve } from "hawser";
    const server = await serve({ dir: ".", port: 0 });
    const { error } = await send({ paths: ["script.mjs"], name: "copy", to: server.address });
    await server.close();
    console.log(error ?? "sent");`,
  );
  t.equal(execFileSync(process.execPath, [script], { cwd: dir, encoding: "utf8" }), "sent\n");
  t.same(readFileSync(join(dir, "copy")), readFileSync(script));
});
