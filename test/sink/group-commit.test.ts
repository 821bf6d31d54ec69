import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t, { type Test } from "tap";
import { GroupCommit } from "../../src/sink/group-commit.ts";

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA foreign_keys = ON;
  CREATE TABLE one (id INTEGER PRIMARY KEY, bytes BLOB) STRICT;
  CREATE TABLE of_one (one INTEGER REFERENCES one DEFERRABLE INITIALLY DEFERRED) STRICT;
`;

function opened(t: Test) {
  const path = join(t.testdir(), "test.db");
  const database = new DatabaseSync(path);
  database.exec(SCHEMA);
  const other = new DatabaseSync(path, { readOnly: true });
  t.teardown(() => other.close());
  const group = new GroupCommit(database);
  const idsOf = (db: DatabaseSync) =>
    db
      .prepare("SELECT id FROM one ORDER BY id")
      .all()
      .map(({ id }) => Number(id));
  return {
    database,
    group,
    add: (id: number, bytes = 0) =>
      group.write(() => {
        group.prepared("INSERT INTO one VALUES (?, zeroblob(?))").run(id, bytes);
        return id;
      }),
    ids: () => idsOf(database),
    seenByOthers: () => idsOf(other),
  };
}

t.test("what is written in one turn is committed together, and said when it is", async (t) => {
  const { group, add, ids, seenByOthers } = opened(t);
  const first = add(1);
  const second = add(2);
  t.strictSame(ids(), [1, 2], "whoever wrote it sees it at once");
  t.strictSame(seenByOthers(), []);
  t.equal(await first, 1);
  t.strictSame(seenByOthers(), [1, 2], "with the first the second is there too");
  await second;
  await add(3);
  t.strictSame(seenByOthers(), [1, 2, 3]);
  group.close();
});

t.test("what fails takes all of itself back, and nothing of the others", async (t) => {
  const { group, add, seenByOthers } = opened(t);
  const good = add(1);
  const bad = group.write(() => {
    group.prepared("INSERT INTO one VALUES (7, NULL)").run();
    group.prepared("INSERT INTO one VALUES (1, NULL)").run();
  });
  const later = add(2);
  await t.rejects(bad, /UNIQUE/);
  await Promise.all([good, later]);
  t.strictSame(seenByOthers(), [1, 2]);
  group.close();
});

t.test("where the commit fails all who waited for it hear of it, and the next one is a new one", async (t) => {
  const { group, add, seenByOthers } = opened(t);
  const writes = [add(1), group.write(() => group.prepared("INSERT INTO of_one VALUES (99)").run()), add(2)];
  for (const one of await Promise.allSettled(writes)) t.equal(one.status, "rejected");
  await add(3);
  t.strictSame(seenByOthers(), [3]);
  group.close();
});

t.test("on a full disk what is said to be there is there, and nothing else", async (t) => {
  const { database, group, add, seenByOthers } = opened(t);
  database.exec("PRAGMA max_page_count = 40");
  const committed: number[] = [];
  let refused = 0;
  for (let turn = 0; turn < 5; turn++) {
    const writes = [0, 1, 2, 3].map((i) => add(turn * 10 + i, 10_000));
    for (const one of await Promise.allSettled(writes)) {
      if (one.status === "fulfilled") committed.push(one.value);
      else refused++;
    }
  }
  t.ok(committed.length > 0 && refused > 0, `${committed.length} of 20 had room`);
  t.strictSame(seenByOthers(), committed);
  group.close();
});

t.test("closing commits what waits", async (t) => {
  const { group, add, seenByOthers } = opened(t);
  const written = add(1);
  group.close();
  await written;
  t.strictSame(seenByOthers(), [1]);
});
