import { mock } from "node:test";
import t, { type Test } from "tap";
import { ChunkRoom, type RoomUser, type Share } from "../../src/net/chunk-room.ts";

const MIB = 1024 * 1024;

/** A connection: takes and gives back, and says when it was given what it waited for. */
class User implements RoomUser {
  readonly share: Share;
  readonly made: number[] = [];
  held = 0;
  comingBytes: number | undefined = 0;
  yielded = 0;

  constructor(room: ChunkRoom, peer: string) {
    this.share = room.enter(peer);
  }
  take(bytes: number): boolean {
    const had = this.share.take(this, bytes);
    if (had) this.held += bytes;
    return had;
  }
  give(bytes = this.held): void {
    this.held -= bytes;
    this.share.giveBack(bytes);
  }
  roomMade(bytes: number): void {
    this.held += bytes;
    this.made.push(bytes);
  }
  yieldRoom(): void {
    this.yielded++;
    this.share.leave(this);
    this.give();
  }
  leave(): void {
    this.give();
    this.share.leave(this);
  }
}

function clock(t: Test) {
  let nowMs = 0;
  const { mock: now } = mock.method(performance, "now", () => nowMs);
  mock.timers.enable({ apis: ["setInterval"] });
  t.teardown(() => {
    mock.timers.reset();
    now.restore();
  });
  return (ms: number) => {
    for (let left = ms; left > 0; left -= 1000) {
      nowMs += Math.min(1000, left);
      mock.timers.tick(Math.min(1000, left));
    }
  };
}

t.test("a client has half of what the others leave, and waits for its own", async (t) => {
  const room = new ChunkRoom(16 * MIB);
  const greedy = Array.from({ length: 20 }, () => new User(room, "greedy"));
  const had = greedy.filter((user) => user.take(MIB));
  t.equal(had.length, 8);
  const next = Array.from({ length: 20 }, () => new User(room, "next"));
  t.equal(next.filter((user) => user.take(MIB)).length, 4);
  t.equal(room.bytes, 12 * MIB);
  t.equal(room.waiting, 28);
  had[0]?.give();
  t.equal(room.bytes, 11 * MIB, "it has more than half of what is left now");
  had[1]?.give();
  t.equal(room.bytes, 11 * MIB, "what one client gives back another may have");
  t.same(
    next.map(({ made }) => made.length).filter((count) => count > 0),
    [1],
  );
  for (const user of [...greedy, ...next]) user.leave();
  t.equal(room.bytes, 0);
  t.equal(room.waiting, 0);
});

t.test("who has least comes first, and nobody passes who waits", async (t) => {
  const room = new ChunkRoom(4 * MIB);
  const [a, b, c, d] = ["a", "b", "c", "d"].map((peer) => new User(room, peer)) as [User, User, User, User];
  t.ok(a.take(2 * MIB));
  t.ok(b.take(MIB));
  t.notOk(c.take(2 * MIB), "there is no room for it");
  t.notOk(d.take(MIB), "there is for this, but not before it");
  b.give();
  t.same([c.made, d.made], [[2 * MIB], []]);
  a.give();
  t.same(d.made, [MIB]);
  t.equal(room.bytes, 3 * MIB);
});

t.test("a chunk that is larger than all there is comes when nothing else is there", async (t) => {
  const room = new ChunkRoom(MIB);
  const [a, b] = [new User(room, "a"), new User(room, "b")];
  t.ok(a.take(2 * MIB));
  t.notOk(b.take(2 * MIB));
  a.give();
  t.same(b.made, [2 * MIB]);
});

t.test("who went waits for nothing, and gives back what it has later", async (t) => {
  const room = new ChunkRoom(MIB);
  const [a, b, c] = ["a", "b", "c"].map((peer) => new User(room, peer)) as [User, User, User];
  t.ok(a.take(MIB));
  t.notOk(b.take(MIB));
  t.notOk(c.take(MIB));
  b.share.leave(b);
  a.share.leave(a);
  t.same(c.made, []);
  a.give();
  t.same([b.made, c.made], [[], [MIB]]);
});

t.test(
  "when others wait the slowest chunks go, but not at once, and not those that this end keeps waiting",
  async (t) => {
    const pass = clock(t);
    const room = new ChunkRoom(8 * MIB);
    const slow = Array.from({ length: 4 }, () => new User(room, "slow"));
    for (const [i, user] of slow.entries()) {
      t.ok(user.take(MIB));
      user.comingBytes = 1000 - i;
    }
    const other = Array.from({ length: 2 }, () => new User(room, "other"));
    for (const user of other) {
      t.ok(user.take(MIB));
      user.comingBytes = 2000;
    }
    pass(60_000);
    t.same(
      [...slow, ...other].map(({ yielded }) => yielded),
      [0, 0, 0, 0, 0, 0],
      "while nobody waits nobody goes",
    );
    (slow[3] as User).comingBytes = undefined;
    const waits = new User(room, "waits");
    t.notOk(waits.take(4 * MIB));
    pass(2000);
    t.same(waits.made, [4 * MIB]);
    t.same(
      slow.map(({ yielded }) => yielded),
      [0, 1, 1, 0],
      "as many as it takes",
    );
    t.same(
      other.map(({ yielded }) => yielded),
      [0, 0],
    );
    t.equal(room.waiting, 0);
  },
);
