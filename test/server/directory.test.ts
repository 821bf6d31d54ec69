/** A served directory: its lock, and what is found in it when a server starts. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { send } from "../../src/client/send.ts";
import { readHistory } from "../../src/server/database-history.ts";
import { serve } from "../../src/server/serve.ts";
import type { ServerEvent } from "../../src/server/types.ts";

function directory(t: Test) {
  const dir = t.testdir({ served: { ".hawser": { parts: {} } }, a: "content" });
  return { served: join(dir, "served"), file: join(dir, "a"), staging: join(dir, "served/.hawser") };
}
const garbage = "not a database at all, ".repeat(400);

t.test("one server for one directory", async (t) => {
  const { served, file } = directory(t);
  const first = await serve({ dir: served, port: 0 });
  await t.rejects(serve({ dir: served, port: 0 }), {
    code: "E_DIRECTORY_IN_USE",
    message: new RegExp(`${process.pid}`),
  });
  t.match(await send({ paths: [file], to: first.address }), { ok: true });
  await first.close();
  const second = await serve({ dir: served, port: 0 });
  await second.close();
  t.equal([...readHistory(served)].length, 1, "history is kept");
});

t.test("what is no directory", async (t) => {
  const { served, file } = directory(t);
  await t.rejects(serve({ dir: file, port: 0 }), { code: "E_CONFIG" });
  await t.rejects(serve({ dir: join(served, "none"), port: 0 }), { code: "E_CONFIG" });
});

t.test("a port that is taken lets the directory go again", async (t) => {
  const { served } = directory(t);
  const other = t.testdir({ other: {}, served: {} });
  const first = await serve({ dir: join(other, "other"), port: 0 });
  t.teardown(() => first.close());
  mkdirSync(served, { recursive: true });
  await t.rejects(serve({ dir: served, port: first.address.port }), { code: "E_ADDRESS_IN_USE" });
  await (await serve({ dir: served, port: 0 })).close();
});

t.test("what an earlier run left is gone after the start", async (t) => {
  const { served, staging } = directory(t);
  writeFileSync(join(staging, "parts/x.part"), "left");
  const server = await serve({ dir: served, port: 0 });
  t.teardown(() => server.close());
  t.strictSame(readdirSync(join(staging, "parts")), []);
});

t.test("files go below the directory, and nowhere else", async (t) => {
  const { served, file } = directory(t);
  const server = await serve({ dir: served, port: 0 });
  t.teardown(() => server.close());
  t.match(await send({ paths: [file], to: server.address, into: "x/y" }), { ok: true });
  t.equal(readFileSync(join(served, "x/y/a"), "utf8"), "content");
  for (const into of ["..", "x/../..", "/tmp", ".hawser"]) {
    t.match(await send({ paths: [file], to: server.address, into }), { ok: false, error: { code: "E_NAME" } }, into);
  }
  t.notOk(existsSync(join(served, ".hawser/a")));
});

for (const name of ["history.db", "sessions.db"]) {
  t.test(`${name} that is spoilt costs a warning`, async (t) => {
    const { served, staging, file } = directory(t);
    writeFileSync(join(staging, name), garbage);
    const events: ServerEvent[] = [];
    const server = await serve({ dir: served, port: 0, onEvent: (event) => void events.push(event) });
    t.teardown(() => server.close());
    t.match(await send({ paths: [file], to: server.address }), { ok: true });
    t.ok(events.some(({ type }) => type === "warning"));
  });
}

t.test("a lock file that is spoilt is not blamed on another server", async (t) => {
  const { served, staging } = directory(t);
  writeFileSync(join(staging, "lock.db"), garbage);
  const outcome = await serve({ dir: served, port: 0 }).then(
    async (server) => {
      await server.close();
      return "served";
    },
    (error) => error.code,
  );
  t.not(outcome, "E_DIRECTORY_IN_USE");
});
