/** Who may measure, and what that may take. */

import { PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { measure } from "../../src/client/measure.ts";
import type { LiveSession } from "../../src/server/live-session.ts";
import { isMeasurement, Measurements } from "../../src/server/measurements.ts";
import { InOrderSink } from "../../src/sink/in-order-sink.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { startServer } from "../helpers/e2e.ts";
import { testKeys } from "../helpers/keys.ts";

const sessionOf = (peer: string, end: LiveSession["end"] = async () => {}) => ({ peer, end }) as LiveSession;

t.test("four at once, and one more when one has ended", async (t) => {
  const measurements = new Measurements();
  const sink = new MemorySink();
  const sessions = Array.from({ length: 4 }, (_, i) => sessionOf(`192.0.2.${i}`));
  for (const session of sessions) {
    measurements.assertMayOpen("discard", session.peer, sink);
    measurements.opened(session);
  }
  t.throws(() => measurements.assertMayOpen("discard", "192.0.2.9", sink), { code: "E_BUSY" });
  t.throws(() => measurements.assertMayOpen("scratch", "192.0.2.9", sink), { code: "E_BUSY" });
  measurements.assertMayOpen("transfer", "192.0.2.9", sink);
  measurements.assertMayOpen("plan", "192.0.2.9", sink);
  measurements.ended(sessionOf("192.0.2.1"));
  t.throws(
    () => measurements.assertMayOpen("discard", "192.0.2.9", sink),
    { code: "E_BUSY" },
    "others that end make no room",
  );
  measurements.ended(sessions[2] as LiveSession);
  measurements.assertMayOpen("discard", "192.0.2.9", sink);
  for (const session of sessions) measurements.ended(session);
});

t.test("two of one client, by its network, which leave the others room", async (t) => {
  const measurements = new Measurements();
  const sink = new MemorySink();
  const sessions = [sessionOf("2001:db8::1"), sessionOf("2001:db8::2")];
  for (const session of sessions) measurements.opened(session);
  t.throws(() => measurements.assertMayOpen("discard", "2001:db8::3", sink), { code: "E_BUSY" });
  measurements.assertMayOpen("transfer", "2001:db8::3", sink);
  measurements.assertMayOpen("discard", "2001:db8:0:1::1", sink);
  measurements.ended(sessions[0] as LiveSession);
  measurements.assertMayOpen("discard", "2001:db8::3", sink);
  measurements.ended(sessions[1] as LiveSession);
});

t.test("one that goes on for ever is ended", async (t) => {
  const measurements = new Measurements({ durationMs: 1, scratchBytes: 1 });
  const error = await new Promise((resolve) => {
    measurements.opened(sessionOf("192.0.2.1", async (ended) => resolve(ended)));
  });
  t.match(error, { code: "E_BUSY" });
});

t.test("which sessions they are", async (t) => {
  t.same((["transfer", "discard", "scratch", "plan"] as const).map(isMeasurement), [false, true, true, false]);
});

t.test("what goes on to a program is no disk", async (t) => {
  const sink = new InOrderSink(new PassThrough());
  const measurements = new Measurements();
  t.throws(() => measurements.assertMayOpen("scratch", "192.0.2.1", sink), { code: "E_ILLEGAL" });
  measurements.assertMayOpen("discard", "192.0.2.1", sink);
});

t.test("what is written for nothing is bounded", async (t) => {
  const inner = new MemorySink();
  const sink = new Measurements({ durationMs: 1, scratchBytes: 100 }).sinkFor("scratch", inner);
  const spec = { id: "p", name: Buffer.from("bench"), size: null, mtime: [0, 0], mode: 0o600 } as const;
  const part = await sink.reserve(spec);
  part.open();
  part.written(60);
  t.throws(() => part.written(60), { code: "E_TOO_LARGE" });
  await part.abort();
  const again = await sink.reserve({ ...spec, id: "q" });
  again.written(40);
  t.throws(() => again.written(1), { code: "E_TOO_LARGE" }, "over all parts, also those that are gone");
  await again.commit(0, 0);
  await turn();
  t.equal(inner.partsKept, 0, "and nothing is left");
  t.equal(await sink.find(Buffer.from("bench")), undefined);
});

t.test("small files count, and so does what is only promised", async (t) => {
  const sink = new Measurements({ durationMs: 1, scratchBytes: 100 }).sinkFor("scratch", new MemorySink());
  const part = (id: string, size: number | null) =>
    sink.reserve({ id, name: Buffer.from(id), size, mtime: [0, 0], mode: 0o600 });
  const whole = await part("whole", 60);
  whole.open();
  await whole.write(0, Buffer.alloc(60));
  await t.rejects(part("more", 41), { code: "E_TOO_LARGE" });
  const promised = await part("promised", 40);
  await t.rejects(part("none", 1), { code: "E_TOO_LARGE" });
  const endless = await part("endless", null);
  endless.open();
  t.throws(() => endless.write(0, Buffer.alloc(1)), { code: "E_TOO_LARGE" });
  await promised.abort();
  await endless.write(0, Buffer.alloc(40));
  t.throws(() => endless.write(40, Buffer.alloc(1)), { code: "E_TOO_LARGE" }, "what was given back is had once");
});

t.test("only who may send may measure", async (t) => {
  const { keys, ticket, tickets } = await testKeys(t);
  const { to } = await startServer(t, t.testdir({}), { secure: keys });
  t.equal((await measure({ to, seconds: 0.1 })).error?.code, "E_NEEDS_TLS");
  const good = ticket("ann");
  t.equal((await measure({ to, seconds: 0.1, secure: { ticket: good } })).error, null);
  t.equal((await measure({ to, seconds: 0.1, disk: true, secure: { ticket: good } })).error, null);
  tickets.revoke("ann", Date.now());
  const refused = await measure({ to, seconds: 0.1, secure: { ticket: good } });
  t.ok(["E_REVOKED", "E_TOKEN"].includes(refused.error?.code ?? ""), `${refused.error?.code}`);
});
