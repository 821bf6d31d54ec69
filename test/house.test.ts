/** The house's own rules: which Node runs this, and which room may import which. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";

const root = join(import.meta.dirname, "..");
const biome = join(root, "node_modules", "@biomejs", "biome", "bin", "biome");

t.test("the tests run on the project's own Node", async (t) => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  t.ok(major > 24 || (major === 24 && minor >= 20), `this is ${process.versions.node}`);
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  t.equal(engines.node, ">=24.20");
});

/** What biome says of a line of code, if it stood in a file of that name. */
function lint(file: string, code: string): { ok: boolean; said: string } {
  const { status, stderr, stdout } = spawnSync(process.execPath, [biome, "lint", `--stdin-file-path=${file}`], {
    cwd: root,
    input: code,
    encoding: "utf8",
  });
  return { ok: status === 0, said: stderr + stdout };
}

const imports = (from: string) => `import * as other from "${from}";\nexport const it = other;\n`;

t.test("an import against the rules fails the check", async (t) => {
  for (const [file, from] of [
    ["src/protocol/it.ts", "node:net"],
    ["src/protocol/it.ts", "node:fs"],
    ["src/protocol/it.ts", "../net/connection.ts"],
    ["src/net/it.ts", "../source/session.ts"],
    ["src/net/it.ts", "node:fs"],
    ["src/source/it.ts", "../sink/session.ts"],
    ["src/source/it.ts", "node:net"],
    ["src/sink/it.ts", "../server/serve.ts"],
    ["src/sink/it.ts", "../source/session.ts"],
    ["src/client/it.ts", "../server/serve.ts"],
    ["src/server/it.ts", "../client/send.ts"],
    ["src/server/it.ts", "../cli/output.ts"],
    ["src/cli/it.ts", "../commands/send.ts"],
  ] as const) {
    const { ok, said } = lint(file, imports(from));
    t.notOk(ok, `${file} may not import ${from}`);
    t.match(said, /noRestrictedImports/);
  }
});

t.test("an import that the rules allow passes it", async (t) => {
  for (const [file, from] of [
    ["src/protocol/it.ts", "./header.ts"],
    ["src/net/it.ts", "../protocol/header.ts"],
    ["src/sink/it.ts", "../net/port.ts"],
    ["src/client/it.ts", "../source/session.ts"],
    ["src/server/it.ts", "../sink/session.ts"],
    ["src/commands/it.ts", "../client/send.ts"],
  ] as const) {
    const { ok, said } = lint(file, imports(from));
    t.ok(ok, `${file} may import ${from}: ${said}`);
  }
});

t.test("the protocol knows no clock and no timers", async (t) => {
  for (const code of ["Date.now()", "performance.now()", "setTimeout(() => {}, 1)", "process.env"]) {
    t.match(lint("src/protocol/it.ts", `export const it = ${code};\n`).said, /noRestrictedGlobals/, code);
  }
});
