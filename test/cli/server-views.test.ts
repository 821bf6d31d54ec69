import t from "tap";
import { addHistory, HISTORY_HEADER, historyRow } from "../../src/cli/history-view.ts";
import { ListDocument } from "../../src/cli/json.ts";
import { namesText, serverLogLine, serverRecord } from "../../src/cli/server-log.ts";
import type { ServerEvent } from "../../src/server/types.ts";
import { FILE_RECORD, RECORD } from "./fakes.ts";
import { nonconformity } from "./schema.ts";

const NORMAL = { quiet: false, verbose: false };
const NOW_MS = Date.UTC(2026, 10, 22, 16, 18, 2, 345);
const ID = { transferId: RECORD.transferId, peer: RECORD.peer };

const LISTENING: ServerEvent = { type: "listening", host: "127.0.0.1", port: 23300, dir: "/srv/inbox" };
const SESSION: ServerEvent = { type: "session", ...ID, agent: "hawser/0.1.0 (linux; node 24.21.0)", resumed: false };
const RESUMED: ServerEvent = { ...SESSION, resumed: true };
const EXPIRED: ServerEvent = { type: "expired", ...ID };
const FILE: ServerEvent = { type: "file", ...ID, file: FILE_RECORD };
const FAILED: ServerEvent = {
  type: "file",
  ...ID,
  file: { ...FILE_RECORD, crc32: null, status: "failed", error: "it is there already" },
};
const TRANSFER: ServerEvent = { type: "transfer", record: RECORD };
const PARTIAL: ServerEvent = {
  type: "transfer",
  record: { ...RECORD, status: "partial", files: 5, filesFailed: 2, names: ["a", "b", "c"] },
};
const ENDED: ServerEvent = {
  type: "ended",
  ...ID,
  resumable: true,
  code: "E_LOST",
  message: "the client vanished",
};
const REFUSED: ServerEvent = { type: "refused", peer: "10.0.0.1", code: "E_BUSY", message: "too many sessions" };
const WARNING: ServerEvent = { type: "warning", message: "no hard links\u001b[2J" };
const LIMIT: ServerEvent = { type: "limit", bytesPerSecond: 10_000_000 };
const NO_LIMIT: ServerEvent = { type: "limit", bytesPerSecond: null };
const ALL = [
  ...[LISTENING, SESSION, RESUMED, FILE, FAILED, TRANSFER, PARTIAL, ENDED, EXPIRED],
  ...[LIMIT, NO_LIMIT, REFUSED, WARNING],
];

t.test("the log: golden", async (t) => {
  t.equal(
    ALL.map((event) => serverLogLine(event, NOW_MS, NORMAL)).join(""),
    [
      "2026-11-22T16:18:02Z 192.168.1.9 failed: a.bin: it is there already",
      "2026-11-22T16:18:02Z 192.168.1.9 committed: a.bin, 47.7 MiB in 283 ms, 168 MiB/s",
      "2026-11-22T16:18:02Z 192.168.1.9 2 of 5 files failed: a, b, c and 2 more, 47.7 MiB in 283 ms, 168 MiB/s",
      "2026-11-22T16:18:02Z 192.168.1.9 ended before it was complete: the client vanished (E_LOST); it can be resumed",
      "2026-11-22T16:18:02Z 192.168.1.9 did not come back: what transfer 3e5667f9-c9ad-4897-83ed-75abac6c0c2c had left is dropped",
      "2026-11-22T16:18:02Z the rate limit of each client is now 9.54 MiB/s (80.0 Mbit/s)",
      "2026-11-22T16:18:02Z the rate limit of each client is now off",
      "2026-11-22T16:18:02Z 10.0.0.1 refused: too many sessions (E_BUSY)",
      "2026-11-22T16:18:02Z warning: no hard links\\u{1b}[2J",
      "",
    ].join("\n"),
  );
});

t.test("what is not kept can't be resumed", async (t) => {
  const line = serverLogLine({ ...ENDED, resumable: false }, NOW_MS, NORMAL);
  t.match(line, /the client vanished \(E_LOST\)\n$/);
});

t.test("quiet says what went wrong, verbose says everything", async (t) => {
  const quiet = { quiet: true, verbose: false };
  t.equal(serverLogLine(TRANSFER, NOW_MS, quiet), "");
  t.match(serverLogLine(PARTIAL, NOW_MS, quiet), /2 of 5 files failed/);
  t.match(serverLogLine(REFUSED, NOW_MS, quiet), /refused/);
  t.match(serverLogLine(EXPIRED, NOW_MS, quiet), /is dropped/, "data that is gone is worth a line");
  const verbose = { quiet: false, verbose: true };
  t.match(serverLogLine(SESSION, NOW_MS, verbose), /192\.168\.1\.9 begins transfer 3e5667f9/);
  t.match(serverLogLine(RESUMED, NOW_MS, verbose), /192\.168\.1\.9 resumes transfer 3e5667f9/);
  t.match(serverLogLine(FILE, NOW_MS, verbose), /committed: a\.bin, 47\.7 MiB, 7cdd2106/);
});

t.test("serve --json: every event conforms to its schema", async (t) => {
  for (const event of ALL) t.equal(nonconformity("serve-event", serverRecord(event)), undefined, event.type);
  t.equal(
    JSON.stringify(serverRecord(LISTENING)),
    '{"event":"listening","host":"127.0.0.1","port":23300,"dir":"/srv/inbox"}',
  );
  t.type(nonconformity("serve-event", { event: "listening", host: "h", port: 0, dir: "/" }), "string");
  t.type(nonconformity("serve-event", { ...serverRecord(TRANSFER), extra: 1 }), "string");
  const { resumed: _, ...unsaid } = serverRecord(SESSION);
  t.type(nonconformity("serve-event", unsaid), "string", "a session that does not say whether it was resumed");
  t.type(nonconformity("serve-event", { ...serverRecord(EXPIRED), code: "E_LOST" }), "string");
});

t.test("names", async (t) => {
  t.equal(namesText({ names: ["a"], files: 1 }), "a");
  t.equal(namesText({ names: ["a", "b", "c", "d"], files: 12 }), "a, b, c and 9 more");
  t.equal(namesText({ names: [], files: 3 }), "3 files");
  t.equal(namesText({ names: ["a\nb"], files: 1 }), "a\\u{a}b");
});

t.test("history: a table", async (t) => {
  const row = historyRow({ ...RECORD, startedMs: new Date(2026, 10, 22, 6, 8, 1).getTime() });
  t.equal(
    HISTORY_HEADER + row,
    [
      "WHEN                 FROM             BYTES     RATE        STATUS       NAMES",
      "2026-11-22 06:08:01  192.168.1.9      47.7 MiB  168 MiB/s   complete     a.bin",
      "",
    ].join("\n"),
  );
});

t.test("history --json conforms to its schema", async (t) => {
  let text = "";
  const document = new ListDocument("transfers", (more) => {
    text += more;
  });
  addHistory(document, RECORD, [FILE_RECORD, { ...FILE_RECORD, crc32: null, status: "failed", error: "why" }]);
  addHistory(document, { ...RECORD, status: "interrupted" }, []);
  document.finish({});
  const value = JSON.parse(text);
  t.equal(nonconformity("history", value), undefined);
  t.equal(value.transfers[0].files.length, 2);
  t.equal(nonconformity("history", { transfers: [] }), undefined);
  t.type(nonconformity("history", { transfers: [RECORD] }), "string", "the schema refuses");
});

t.test("files that were there already were not received", async (t) => {
  const record = { ...RECORD, bytesPerSecond: 0 };
  t.match(serverLogLine({ type: "transfer", record }, NOW_MS, NORMAL), / unchanged: /);
  t.match(serverLogLine(TRANSFER, NOW_MS, NORMAL), / committed: /);
});
