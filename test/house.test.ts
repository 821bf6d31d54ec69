/** The house's own rules: which Node runs this, and which room may import which. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";

const root = join(import.meta.dirname, "..");
const biome = join(root, "node_modules", "@biomejs", "biome", "bin", "biome");

t.test("the tests run on the project's own Node", async (t) => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  t.ok(major > 24 || (major === 24 && minor >= 20), `this is ${process.versions.node}`);
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  t.equal(engines.node, ">=24.20");
});

/** Lints a line of code in a file of each name, in a house of its own. Returns which rules bit, by file. */
function lint(directory: string, files: Readonly<Record<string, string>>): Map<string, string[]> {
  const config = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"));
  delete config.$schema;
  delete config.vcs;
  writeFileSync(join(directory, "biome.json"), JSON.stringify(config));
  for (const [file, code] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, file)), { recursive: true });
    writeFileSync(join(directory, file), code);
  }
  const args = [biome, "lint", "--reporter=json", "--max-diagnostics=none", "."];
  const { stdout } = spawnSync(process.execPath, args, { cwd: directory, encoding: "utf8" });
  const bitten = new Map<string, string[]>();
  for (const { category, location } of JSON.parse(stdout).diagnostics) {
    const file = location.path.file ?? location.path;
    bitten.set(file, [...(bitten.get(file) ?? []), category]);
  }
  return bitten;
}

const importing = (from: string) => `import * as other from "${from}";\nexport const it = other;\n`;

t.test("an import against the rules fails the check", async (t) => {
  const forbidden = [
    ["src/protocol", "node:net"],
    ["src/protocol", "node:fs"],
    ["src/protocol", "../net/connection.ts"],
    ["src/net", "../source/session.ts"],
    ["src/net", "node:fs"],
    ["src/source", "../sink/session.ts"],
    ["src/source", "node:net"],
    ["src/sink", "../server/serve.ts"],
    ["src/sink", "../source/session.ts"],
    ["src/client", "../server/serve.ts"],
    ["src/server", "../client/send.ts"],
    ["src/server", "../cli/output.ts"],
    ["src/cli", "../commands/send.ts"],
    ["test/second", "../../src/index.ts"],
    ["test/second", "../../src/protocol/crc32.ts"],
    ["test/second", "../helpers/raw-client.ts"],
    ["test/second", "msgpackr"],
  ] as const;
  const allowed = [
    ["src/protocol", "./header.ts"],
    ["src/protocol", "node:zlib"],
    ["src/net", "../protocol/header.ts"],
    ["src/sink", "../net/port.ts"],
    ["src/client", "../source/session.ts"],
    ["src/server", "../sink/session.ts"],
    ["src/commands", "../client/send.ts"],
    ["test/second", "./frames.ts"],
    ["test/second", "node:zlib"],
  ] as const;
  const files: Record<string, string> = {};
  forbidden.forEach(([room, from], i) => {
    files[`${room}/forbidden-${i}.ts`] = importing(from);
  });
  allowed.forEach(([room, from], i) => {
    files[`${room}/allowed-${i}.ts`] = importing(from);
  });
  const bitten = lint(t.testdir(), files);
  forbidden.forEach(([room, from], i) => {
    t.same(bitten.get(`${room}/forbidden-${i}.ts`), ["lint/style/noRestrictedImports"], `${room} and ${from}`);
  });
  allowed.forEach(([room, from], i) => {
    t.notOk(bitten.has(`${room}/allowed-${i}.ts`), `${room} may import ${from}`);
  });
});

t.test("tests of the second implementation know the public API, and nothing below it", async (t) => {
  const bitten = lint(t.testdir(), {
    "test/second/a.test.ts": importing("../../src/index.ts"),
    "test/second/b.test.ts": importing("../../src/protocol/header.ts"),
    "test/second/c.test.ts": importing("../helpers/raw-client.ts"),
  });
  t.same([...bitten.keys()].sort(), ["test/second/b.test.ts", "test/second/c.test.ts"]);
});

t.test("the protocol knows no clock and no timers", async (t) => {
  const uses = ["Date.now()", "performance.now()", "setTimeout(() => {}, 1)", "process.env"];
  const files = Object.fromEntries(uses.map((code, i) => [`src/protocol/it-${i}.ts`, `export const it = ${code};\n`]));
  const bitten = lint(t.testdir(), files);
  for (const [i, code] of uses.entries()) {
    t.ok(bitten.get(`src/protocol/it-${i}.ts`)?.includes("lint/style/noRestrictedGlobals"), code);
  }
});

t.test("every dependency is listed with its reason, and no other", async (t) => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const text = readFileSync(join(root, "docs", "dependencies.md"), "utf8");
  const listed = [...text.matchAll(/^\| `([^`]+)` +\| (.+?) +\|$/gm)].map(([, name = "", why = ""]) => ({ name, why }));
  const named = Object.keys({ ...dependencies, ...devDependencies });
  t.same(listed.map(({ name }) => name).sort(), named.sort());
  for (const { name, why } of listed) t.ok(why.length >= 5, `${name}: ${why}`);
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    t.match(version as string, /^\d+\.\d+\.\d+$/, `${name} is pinned`);
  }
});

t.test("SECURITY.md names tests that are there", async (t) => {
  const text = readFileSync(join(root, "SECURITY.md"), "utf8");
  const files = [...text.matchAll(/`(test\/[^`]+\.test\.ts)`/g)].map(([, file = ""]) => file);
  t.ok(files.length >= 10);
  for (const file of files) t.ok(existsSync(join(root, file)), file);
});
