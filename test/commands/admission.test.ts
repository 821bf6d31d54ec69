/** Who may come and what each may take, as whoever runs a server sets it. */
import { join } from "node:path";
import t from "tap";
import { run, startServe } from "./program.ts";

t.test("--deny and --allow: flags that repeat, lists, the environment; whoever is refused hears why", async (t) => {
  const dir = t.testdir({ in: {}, a: "a" });
  const cases: [string[], Record<string, string>, number][] = [
    [["--deny", "192.0.2.1", "--deny", "127.0.0.0/8"], {}, 77],
    [["--allow", "192.0.2.0/24,127.0.0.1"], {}, 0],
    [[], { HAWSER_ALLOW: "192.0.2.0/24, ::1" }, 77],
  ];
  for (const [flags, env, exitCode] of cases) {
    const server = await startServe(join(dir, "in"), flags, { env });
    const sent = await run(["send", join(dir, "a"), "--to", server.address]);
    t.equal(sent.code, exitCode, sent.err);
    if (exitCode === 77) t.match(sent.err, /does not take transfers from this address.*E_ADDRESS_REFUSED.*--allow/s);
    await server.stop();
  }
  t.match(await run(["serve", join(dir, "in"), "--deny", "10.0.0.0/8,nas"]), {
    code: 2,
    err: /'nas' is none.*2001:db8/s,
  });
  t.match(await run(["serve", join(dir, "in"), "--allow", "nas"]), { code: 2, err: /--allow 'nas' can't be used/ });
});

t.test("--max-depth, --max-entries and --quota, with their exit codes", async (t) => {
  const dir = t.testdir({
    in: {},
    tree: { a: "a", b: "b", deep: { deeper: { c: "c" } } },
    large: "x".repeat(20 << 20),
  });
  const server = await startServe(join(dir, "in"), ["--max-depth", "3", "--max-entries", "6", "--quota", "16MiB"]);
  const deep = await run(["send", join(dir, "tree"), "--to", server.address]);
  t.match(deep, { code: 23, err: /4 components, and the server takes 3 at most/ });
  const many = await run(["send", join(dir, "tree"), join(dir, "large"), "--to", server.address, "--into", "x"]);
  t.match(many, { code: 73, err: /E_TOO_MANY.*--max-entries/s });
  const large = await run(["send", join(dir, "large"), "--to", server.address]);
  t.match(large, { code: 74, err: /E_QUOTA.*--quota/s });
  await server.stop();
});
