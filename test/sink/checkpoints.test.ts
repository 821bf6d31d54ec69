import { mock } from "node:test";
import t, { type Test } from "tap";
import { Checkpoints } from "../../src/sink/checkpoints.ts";
import { SyncError } from "../../src/sink/durable.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import type { ReceivedFile } from "../../src/sink/received-file.ts";
import type { StoredChunk } from "../../src/sink/session-store.ts";
import type { Durability, Part } from "../../src/sink/sink.ts";
import { offerOf, receivedFile } from "../helpers/received.ts";

const MANY = 128 * 1024 * 1024;

/** A store that writes down what it is asked for, and answers when it is let. */
class Recorder extends MemorySessionStore {
  readonly #log: string[];
  fails = false;
  /** Recording waits for it. */
  gate: Promise<void> | undefined;
  constructor(log: string[]) {
    super();
    this.#log = log;
  }
  override async recordChunks(chunks: readonly StoredChunk[]): Promise<void> {
    const shown = chunks.map(({ file, offset, synced }) => `${file}@${offset}${synced ? "!" : ""}`);
    this.#log.push(`record ${shown.join(" ")}`.trim());
    await this.gate;
    if (this.fails) throw new Error("the disk is full");
  }
  override async sync(): Promise<void> {
    this.#log.push("sync journal");
  }
}

function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

function setUp(t: Test, durability: Durability = "commit") {
  const log: string[] = [];
  const store = new Recorder(log);
  const failed: string[] = [];
  const checkpoints = new Checkpoints({
    store,
    durability,
    onSyncFailed: (file, { code }) => void failed.push(`${file.id} ${code}`),
  });
  t.teardown(() => checkpoints.flush());
  /** A file that syncs as `sync` does. */
  const file = (id: number | undefined, sync: () => Promise<void> = async () => {}): ReceivedFile => {
    const made = receivedFile(offerOf(`f${id}`, null));
    made.id = id;
    made.part = {
      sync: () => {
        log.push(`sync ${id}`);
        return sync();
      },
    } as Part;
    return made;
  };
  return { log, store, failed, checkpoints, file };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

function mockTime(t: Test): void {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
}

t.test("chunks are recorded together, file by file, after so many bytes", async (t) => {
  const { log, checkpoints, file } = setUp(t);
  const [one, two] = [file(1), file(2)];
  checkpoints.add(one, 0, 1, 10);
  checkpoints.add(two, 0, 1, 10);
  checkpoints.add(one, 10, 1, MANY - 21);
  await turn();
  t.strictSame(log, [], "not a byte too early");
  checkpoints.add(two, 10, 1, 1);
  await turn();
  t.strictSame(log, ["record 1@0 1@10 2@0 2@10"]);
  checkpoints.add(one, 20, 1, MANY - 1);
  await turn();
  t.equal(log.length, 1, "they are counted anew");
});

t.test("or after a second, counted from the first", async (t) => {
  mockTime(t);
  const { log, checkpoints, file } = setUp(t);
  const one = file(1);
  checkpoints.add(one, 0, 1, 10);
  mock.timers.tick(999);
  checkpoints.add(one, 10, 1, 10);
  await turn();
  t.strictSame(log, []);
  mock.timers.tick(1);
  await turn();
  t.strictSame(log, ["record 1@0 1@10"]);
  mock.timers.tick(10_000);
  await turn();
  t.equal(log.length, 1, "nothing waits, and nothing is written");
});

t.test("one at a time; what comes meanwhile is in the next", async (t) => {
  mockTime(t);
  const { log, store, checkpoints, file } = setUp(t);
  const one = file(1);
  const slow = gate();
  store.gate = slow.opened;
  checkpoints.add(one, 0, 1, MANY);
  await turn();
  checkpoints.add(one, 1, 1, MANY);
  checkpoints.add(one, 2, 1, MANY);
  mock.timers.tick(5000);
  await turn();
  t.strictSame(log, ["record 1@0"]);
  slow.open();
  await turn();
  t.strictSame(log, ["record 1@0", "record 1@1 1@2"], "at once, where it is enough for one");
  store.gate = undefined;
  checkpoints.add(one, 3, 1, 10);
  await turn();
  t.equal(log.length, 2);
  mock.timers.tick(1000);
  await turn();
  t.equal(log.at(-1), "record 1@3", "and after a second else");
});

for (const durability of ["none", "commit"] as const) {
  t.test(`${durability}: what is recorded is not synced, and says so`, async (t) => {
    const { log, checkpoints, file } = setUp(t, durability);
    checkpoints.add(file(1), 0, 1, MANY);
    await checkpoints.flush();
    t.strictSame(log, ["record 1@0"]);
  });
}

for (const durability of ["checkpoint", "strict"] as const) {
  t.test(`${durability}: each file is synced, then recorded, then the journal is synced`, async (t) => {
    const { log, checkpoints, file } = setUp(t, durability);
    const [one, two] = [file(1), file(2)];
    checkpoints.add(one, 0, 1, 10);
    checkpoints.add(two, 0, 1, 10);
    checkpoints.add(one, 10, 1, MANY);
    await checkpoints.flush();
    t.strictSame(log, ["sync 1", "sync 2", "record 1@0! 1@10! 2@0!", "sync journal"]);
  });
}

t.test("adding goes on during a slow sync, and what it adds is not claimed by it", async (t) => {
  const { log, checkpoints, file } = setUp(t, "checkpoint");
  const slow = gate();
  const one = file(1, () => slow.opened);
  checkpoints.add(one, 0, 1, MANY);
  await turn();
  t.ok(checkpoints.isSyncing);
  checkpoints.add(one, 10, 1, 10);
  slow.open();
  await turn();
  t.strictSame(log, ["sync 1", "record 1@0!", "sync journal"]);
  t.notOk(checkpoints.isSyncing);
  await checkpoints.flush();
  t.strictSame(log.slice(3), ["sync 1", "record 1@10!", "sync journal"]);
});

t.test("of a file that can't be synced nothing is recorded, and its owner is told; the others are", async (t) => {
  const { log, failed, checkpoints, file } = setUp(t, "checkpoint");
  const bad = file(1, () => Promise.reject(new SyncError("E_IO", "syncing failed")));
  const good = file(2);
  checkpoints.add(bad, 0, 1, 10);
  checkpoints.add(good, 0, 1, 10);
  checkpoints.add(bad, 10, 1, 10);
  await checkpoints.flush();
  t.strictSame(failed, ["1 E_IO"]);
  t.strictSame(log, ["sync 1", "sync 2", "record 2@0!", "sync journal"]);
  t.notOk(checkpoints.isSyncing);
});

t.test("what is forgotten is not recorded any more", async (t) => {
  const { log, checkpoints, file } = setUp(t);
  const [one, two, three] = [file(1), file(2), file(3)];
  for (const each of [one, two, three]) checkpoints.add(each, 0, 1, 10);
  await checkpoints.forget(one);
  await checkpoints.forget(three);
  await checkpoints.flush();
  t.strictSame(log, ["record 2@0"]);
});

t.test("forgetting waits for what is being recorded", async (t) => {
  const { log, store, checkpoints, file } = setUp(t);
  const slow = gate();
  store.gate = slow.opened;
  const one = file(1);
  checkpoints.add(one, 0, 1, MANY);
  await turn();
  checkpoints.add(one, 10, 1, 10);
  let forgotten = false;
  const forgetting = checkpoints.forget(one).then(() => {
    forgotten = true;
  });
  await turn();
  t.notOk(forgotten, "whoever drops its rows then must not find them written after that");
  slow.open();
  await forgetting;
  await checkpoints.flush();
  t.strictSame(log, ["record 1@0"]);
});

t.test("flushing records all that was added, also behind one that runs", async (t) => {
  const { log, store, checkpoints, file } = setUp(t);
  const one = file(1);
  await checkpoints.flush();
  t.strictSame(log, []);
  const slow = gate();
  store.gate = slow.opened;
  checkpoints.add(one, 0, 1, MANY);
  checkpoints.add(one, 10, 1, 10);
  const flushing = checkpoints.flush();
  await turn();
  t.strictSame(log, ["record 1@0"]);
  slow.open();
  await flushing;
  t.strictSame(log, ["record 1@0", "record 1@10"]);
});

t.test("a journal that can't be written costs no transfer, and is tried again", async (t) => {
  const { log, store, failed, checkpoints, file } = setUp(t, "checkpoint");
  store.fails = true;
  const one = file(1);
  for (const offset of [0, 1]) {
    checkpoints.add(one, offset, 1, MANY);
    await checkpoints.flush();
  }
  t.strictSame(log, ["sync 1", "record 1@0!", "sync 1", "record 1@1!"]);
  t.strictSame(failed, []);
});

t.test("a file that the store does not know is not recorded", async (t) => {
  const { log, checkpoints, file } = setUp(t);
  checkpoints.add(file(undefined), 0, 1, MANY);
  await checkpoints.flush();
  t.strictSame(log, []);
});

t.test("200,000 chunks in one batch", async (t) => {
  const { log, checkpoints, file } = setUp(t);
  const one = file(1);
  const count = 200_000;
  for (let offset = 0; offset < count; offset++) checkpoints.add(one, offset, 1, 1);
  await checkpoints.flush();
  t.equal(log.length, 1);
  t.equal(log[0]?.split(" ").length, 1 + count);
});
