import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { configPath, readConfigSection } from "../../src/cli/config-file.ts";

const COMMANDS = ["send", "serve"];

function home(t: Test, text?: string): Record<string, string> {
  const dir = t.testdir({});
  if (text !== undefined) {
    mkdirSync(join(dir, "hawser"));
    writeFileSync(join(dir, "hawser", "config.toml"), text);
  }
  return { XDG_CONFIG_HOME: dir };
}

t.test("where it is", async (t) => {
  t.equal(configPath({ XDG_CONFIG_HOME: "/c", HOME: "/h" }), "/c/hawser/config.toml");
  t.equal(configPath({ HOME: "/h" }), "/h/.config/hawser/config.toml");
  t.equal(configPath({ XDG_CONFIG_HOME: "relative", HOME: "/h" }), "/h/.config/hawser/config.toml");
  t.equal(configPath({ XDG_CONFIG_HOME: "", HOME: "/h" }), "/h/.config/hawser/config.toml");
});

t.test("the section of a command", async (t) => {
  const text = '[send]\nstreams = 8\nto = "nas:23300"\ntimeout = "30s"\n\n[serve]\nport = 9\n';
  const environment = home(t, text);
  const section = await readConfigSection("send", COMMANDS, environment);
  t.equal(section?.name, "send");
  t.same({ ...section?.entries }, { streams: 8, to: "nas:23300", timeout: "30s" });
});

t.test("no file, no section, no directory: no settings", async (t) => {
  t.equal(await readConfigSection("send", COMMANDS, home(t)), undefined);
  t.equal(await readConfigSection("send", COMMANDS, home(t, "[serve]\nport = 1\n")), undefined);
  t.equal(await readConfigSection("send", COMMANDS, { XDG_CONFIG_HOME: "/dev/null" }), undefined);
});

t.test("a bad file is a configuration error that names it", async (t) => {
  const cases: [string, string, RegExp][] = [
    ["no TOML", "streams: 8\n", /config\.toml:1:\d+ is not TOML/],
    ["an unknown section", "[snd]\nstreams = 8\n", /config\.toml: 'snd' is not known/],
    ["a key outside of a section", "streams = 8\n", /config\.toml: 'streams' is not known/],
    ["a section that is none", "send = 8\n", /'send' is not a section/],
    ["a list of tables", "[[send]]\nstreams = 8\n", /'send' is not a section/],
  ];
  for (const [name, text, message] of cases) {
    await t.rejects(
      readConfigSection("send", COMMANDS, home(t, text)),
      { code: "E_CONFIG", exitCode: 78, message },
      name,
    );
  }
});

t.test("no regular file", async (t) => {
  const dir = t.testdir({ hawser: { "config.toml": {} } });
  await t.rejects(readConfigSection("send", COMMANDS, { XDG_CONFIG_HOME: dir }), {
    code: "E_CONFIG",
    message: /no regular file/,
  });
});
