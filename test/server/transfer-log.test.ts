import t from "tap";
import { MemoryHistory } from "../../src/server/history.ts";
import type { LiveSession } from "../../src/server/live-session.ts";
import { TransferLog } from "../../src/server/transfer-log.ts";
import { nameOf } from "../helpers/bytes.ts";

t.test("what had come before an interrupted run counts as resumed, and not as received", async (t) => {
  const history = new MemoryHistory();
  const log = new TransferLog(
    history,
    () => ({ bytesResumed: 900, bytesMatched: 100 }),
    () => {},
  );
  const terms = { transfer: "t", durability: "commit" };
  const session = { terms, peer: "127.0.0.1", startedMs: 0, retries: 0, streamsSeen: 1 } as unknown as LiveSession;
  const outcome = { file: 0, status: "committed", size: 1000, crc32: 0 } as const;
  await log.files(session, [{ outcome, name: nameOf("a"), failure: undefined, storedId: undefined }]);
  await log.interrupted(session);
  const [record] = [...history.list()];
  t.match(record, { status: "interrupted", bytes: 1000, bytesResumed: 900, bytesPerSecond: 0 });
});
