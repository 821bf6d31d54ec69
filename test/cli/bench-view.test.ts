import t from "tap";
import { benchRecord, benchText, progressOf } from "../../src/cli/bench-view.ts";
import { progressRecord } from "../../src/cli/progress-json.ts";
import { progressText } from "../../src/cli/progress-view.ts";
import { REFUSED } from "./fakes.ts";
import { nonconformity } from "./schema.ts";

const TO = { host: "127.0.0.1", port: 46491 };
const GIB = 1024 ** 3;
const MEASURED = {
  ok: true,
  bytes: 4 * GIB,
  seconds: 2,
  bytesPerSecond: 2 * GIB,
  streams: 4,
  cpuSeconds: { client: 1.92, server: 1.52 },
  error: null,
};

t.test("text: golden", async (t) => {
  t.equal(
    benchText(TO, true, MEASURED),
    [
      "path    127.0.0.1:46491 (a server of its own, on this machine)",
      "sent    4.00 GiB in 2.00 s over 4 streams, written nowhere",
      "rate    2.00 GiB/s (17.2 Gbit/s)",
      "client  0.48 CPU seconds per GiB, 96% of a core",
      "server  0.38 CPU seconds per GiB, 76% of a core",
      "limit   the CPU of this end",
      "",
    ].join("\n"),
  );
});

t.test("the limit is named only as far as the numbers show it", async (t) => {
  const limit = (client: number, server: number | null) =>
    /limit +(.*)/.exec(benchText(TO, false, { ...MEASURED, cpuSeconds: { client, server } }))?.[1];
  t.equal(limit(1.9, 1.9), "the CPU of both ends");
  t.equal(limit(0.2, 1.9), "the CPU of the server");
  t.match(limit(0.2, 0.2), /neither end's CPU/);
  t.match(limit(0.2, null), /neither end's CPU/);
});

t.test("json conforms to its schema", async (t) => {
  t.equal(nonconformity("bench", benchRecord(TO, MEASURED)), undefined);
  const failed = { ...MEASURED, ok: false, bytes: 0, bytesPerSecond: 0, seconds: 0, streams: 0, error: REFUSED.error };
  t.equal(nonconformity("bench", benchRecord(TO, { ...failed, cpuSeconds: { client: 0, server: null } })), undefined);
  t.type(nonconformity("bench", { ok: true }), "string", "the schema refuses");
});

t.test("progress", async (t) => {
  const event = progressOf({ bytes: GIB, elapsedMs: 500 }, 2);
  t.equal(event.type === "progress" && progressText(event), "1.00 GiB, 2.00 GiB/s, 2 s left");
  t.equal(nonconformity("progress-event", progressRecord(event)), undefined);
});
