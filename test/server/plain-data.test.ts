/**
 * What streams and sessions say to each other is plain data that could cross a thread: transfers in which each message
 * through a port is cloned as a message between threads would be.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import * as ports from "../../src/net/port.ts";
import { randomBytesOf, same } from "../helpers/bytes.ts";

let clones = 0;
const types = new Set<string>();

function cloned<M>(handler: (message: M) => void): (message: M) => void {
  return (message) => {
    clones++;
    types.add((message as { type: string }).type);
    handler(structuredClone(message));
  };
}

const mock = {
  joinedPorts: <A, B>(onA: (message: A) => void, onB: (message: B) => void) =>
    ports.joinedPorts<A, B>(cloned(onA), cloned(onB)),
};

t.test("to a disk, with every message cloned", async (t) => {
  const port = new URL("../../src/net/port.ts", import.meta.url).href;
  const { send } = await t.mockImport<typeof import("../../src/client/send.ts")>("../../src/client/send.ts", {
    [port]: mock,
  });
  const { serve } = await t.mockImport<typeof import("../../src/server/serve.ts")>("../../src/server/serve.ts", {
    [port]: mock,
  });
  const dir = t.testdir({ served: {} });
  const contents = [0, 1, 65_536, 1_000_001].map((size, i) => randomBytesOf(size, i + 1));
  mkdirSync(join(dir, "from"));
  const paths = contents.map((content, i) => {
    writeFileSync(join(dir, "from", `f${i}`), content);
    return join(dir, "from", `f${i}`);
  });
  const server = await serve({ dir: join(dir, "served"), port: 0 });
  t.teardown(() => server.close());
  const result = await send({ paths, to: server.address, streams: 3, chunkBytes: 65_536 });
  t.match(result, { ok: true, filesCommitted: 4 });
  for (const [i, content] of contents.entries()) t.ok(same(readFileSync(join(dir, "served", `f${i}`)), content));
  t.ok(clones > 50, `${clones} messages`);
  for (const type of ["file", "send", "forget", "ready", "read", "acknowledged", "arrived", "verdict", "stored"]) {
    t.ok(types.has(type), type);
  }
});
