/** What becomes of a session beyond one plain transfer: joined again, asked for by two, in order, thrown away. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { crc32 } from "node:zlib";
import t from "tap";
import { serve } from "../../src/index.ts";
import { startServer } from "../helpers/e2e.ts";
import { CODES } from "./errors.ts";
import type { Fields } from "./msgpack.ts";
import { contentOf } from "./random.ts";
import { CHUNK, offer, offers, openSession, openStream, planned } from "./raw-session.ts";
import { sendAll } from "./source.ts";

const content = contentOf(CHUNK);
const seal = (file: number): Fields => ({ files: [{ file, size: CHUNK, crc32: crc32(content) }] });

t.test("the control connection breaks: all that has no outcome is offered again, and nothing is lost", async (t) => {
  const dir = t.testdir();
  const { to } = await startServer(t, dir);
  const whole = { whole: true };
  const all = [
    offer(0, "settled", CHUNK),
    offer(1, "half", 2 * CHUNK),
    offer(2, "withdrawn", CHUNK),
    offer(3, "sealed", CHUNK),
    offer(4, "small", 100, whole),
  ];
  const session = await planned(await openSession(to), ...all);
  const stream = await openStream(session);
  stream.chunk(0, 0, content);
  await session.control.send("SEAL", seal(0)).until("OUTCOME");
  await stream.chunk(1, CHUNK, content).until("ACK", ({ fields }) => (fields["chunks"] as number[][])[0]?.[0] === 1);
  const withdrawn = { files: [{ file: 2, error: { code: CODES.E_SOURCE_CHANGED, message: "it changed" } }] };
  session.control.send("WITHDRAW", withdrawn).send("SEAL", seal(3));
  session.control.close();
  // The stream goes on meanwhile.
  stream.chunk(3, 0, content);

  const { control, welcome } = await openSession(to, { session: session.id, generation: 1 });
  t.same(welcome, session.welcome, "the terms as they were");
  control.send("OFFER", { settledBelow: 1, files: all.slice(1) });
  const planFor = (file: number) => (frame: { fields: Fields }) =>
    (frame.fields["files"] as { file: number; count?: number }[]).some(
      (plan) => plan.file <= file && file < plan.file + (plan.count ?? 1),
    );
  await control.until("PLAN", planFor(4));
  // What belongs to the answers, once more.
  control.send("WITHDRAW", withdrawn).send("SEAL", seal(3)).send("FINISH", { files: 5 });
  const whole1 = Buffer.concat([content, content]);
  control.send("SEAL", { files: [{ file: 1, size: 2 * CHUNK, crc32: crc32(whole1) }] });
  stream.chunk(1, 0, content).bundle(4, [{ file: 4, content: content.subarray(0, 100) }]);
  t.match((await control.until("RECEIPT")).fields, { files: 5, failed: 1, bytes: 4 * CHUNK + 100 });
  t.same(readdirSync(dir).toSorted(), [".hawser", "half", "sealed", "settled", "small"]);
  t.ok(readFileSync(join(dir, "half")).equals(whole1), "what was acknowledged before counts");
  control.close();
});

t.test("a client that missed its receipt gets it again", async (t) => {
  const { to } = await startServer(t, t.testdir());
  const session = await openSession(to);
  await offers(session.control, offer(0, "link", 0, { kind: "symlink", target: Buffer.from("x") })).until("OUTCOME");
  await session.control.send("FINISH", { files: 1 }).until("RECEIPT");
  const { control } = await openSession(to, { session: session.id, generation: 1 });
  control.send("FINISH", { files: 1 });
  t.match((await control.until("RECEIPT")).fields, { files: 1, failed: 0 });
  control.close();
});

t.test("two clients send the same: the second gets E_BUSY while the first answers", async (t) => {
  const { to } = await startServer(t, t.testdir());
  const key = Buffer.alloc(16, 3);
  const session = await planned(await openSession(to, { keys: [key] }), offer(0, "contended", CHUNK, { key }));
  const stream = await openStream(session);
  const entries = [{ name: "contended", content, key }];
  const refused = await sendAll(to, entries, { hello: { keys: [key] } }).catch((error) => error);
  t.equal(refused.code, "E_BUSY", "with the key in HELLO");
  const { outcomes } = await sendAll(to, entries);
  t.match(outcomes.get(0), { status: "failed", error: { code: CODES.E_BUSY } }, "with the key in the offer");
  session.control.send("SEAL", seal(0)).send("FINISH", { files: 1 });
  stream.chunk(0, 0, content);
  t.match((await session.control.until("RECEIPT")).fields, { files: 1, failed: 0 }, "the first is not disturbed");
  session.control.close();
});

t.test("a sink that passes one file on, in order", async (t) => {
  const parts: Buffer[] = [];
  const output = new Writable({
    write(part, _, done) {
      parts.push(Buffer.from(part));
      setImmediate(done);
    },
  });
  const server = await serve({ output, port: 0 });
  t.teardown(() => server.close());
  const file = contentOf(60 * CHUNK + 5);
  const entries = [
    { name: "passed on", content: file },
    { name: "one too many", content },
  ];
  const { welcome, outcomes, receipt } = await sendAll(server.address, entries, { streams: 3 });
  t.equal(welcome["inOrder"], true);
  t.match(outcomes.get(0), { status: "committed", size: file.length });
  t.match(outcomes.get(1), { status: "failed", error: { code: CODES.E_ONE_FILE } });
  t.match(receipt, { files: 2, failed: 1, bytes: file.length });
  t.ok(Buffer.concat(parts).equals(file), "every byte, in order");
});

t.test("data that is thrown away", async (t) => {
  const dir = t.testdir();
  const { to } = await startServer(t, dir);
  const { receipt, welcome } = await sendAll(to, [{ name: "x", content: contentOf(30 * CHUNK) }], {
    hello: { purpose: "discard" },
    streams: 2,
  });
  t.equal(welcome["durability"], "none");
  t.match(receipt, { files: 1, failed: 0, bytes: 30 * CHUNK });
  t.same(readdirSync(dir), [".hawser"]);
});
