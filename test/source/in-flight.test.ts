import t from "tap";
import { InFlight } from "../../src/source/in-flight.ts";

t.test("what was on its way of a file that is settled is told, once, with the stream that got it first", async (t) => {
  const inFlight = new InFlight();
  const piece = (file: number, offset: number) => ({ file, offset, bytes: 10 });
  inFlight.deal(1, piece(0, 0), 0);
  inFlight.deal(2, piece(0, 10), 0);
  inFlight.deal(3, piece(0, 10), 5);
  inFlight.deal(2, piece(7, 0), 6);
  inFlight.deal(1, piece(0, 20), 7);
  inFlight.acknowledge(1, 0, 20, 8);
  t.strictSame(inFlight.forgetFile(0), [
    { stream: 1, bytes: 10 },
    { stream: 2, bytes: 10 },
  ]);
  t.strictSame(inFlight.forgetFile(0), []);
  t.notOk(inFlight.isEmpty, "the other file's is still on its way");
  t.equal(inFlight.acknowledge(1, 0, 0, 9), undefined, "an acknowledgement that comes late says nothing new");
});

t.test("under a rate limit a chunk is overdue only after the system has had it for too long", async (t) => {
  const inFlight = new InFlight();
  const piece = (offset: number) => ({ file: 0, offset, bytes: 10 });
  inFlight.deal(1, piece(0), 0);
  inFlight.acknowledge(1, 0, 0, 10);
  inFlight.deal(2, piece(10), Number.POSITIVE_INFINITY);
  t.equal(inFlight.bytes, 10);
  t.equal(inFlight.overdueFor(1, 1_000_000), undefined);
  inFlight.accepted(1, 0, 10, 5);
  t.equal(inFlight.overdueFor(1, 1_000_000), undefined, "it was another's");
  inFlight.accepted(2, 0, 10, 1_000_000);
  t.equal(inFlight.overdueFor(1, 1_000_500), undefined);
  t.strictSame(inFlight.overdueFor(1, 1_000_501), piece(10));
});

t.test("how many chunks a stream has, whoever brings them", async (t) => {
  const inFlight = new InFlight();
  const piece = (offset: number) => ({ file: 0, offset, bytes: 10 });
  for (const offset of [0, 10, 20, 30]) inFlight.deal(1, piece(offset), 0);
  inFlight.deal(1, piece(0), 1);
  inFlight.deal(2, piece(10), 2);
  t.strictSame(
    [1, 2, 3].map((stream) => inFlight.heldBy(stream)),
    [4, 1, 0],
  );
  inFlight.acknowledge(2, 0, 10, 3);
  t.strictSame(
    [1, 2].map((stream) => inFlight.heldBy(stream)),
    [3, 0],
    "both had it",
  );
  inFlight.lose(1, 0, 0);
  inFlight.forget(piece(20));
  t.equal(inFlight.heldBy(1), 1);
  inFlight.forgetFile(0);
  t.equal(inFlight.heldBy(1), 0);
  inFlight.deal(1, piece(40), 4);
  inFlight.closeStream(1);
  t.equal(inFlight.heldBy(1), 0);
});

t.test("a file has left when the system has all that was dealt of it, or nobody has it to give", async (t) => {
  const inFlight = new InFlight();
  const piece = (file: number, offset: number) => ({ file, offset, bytes: 10 });
  t.ok(inFlight.hasLeft(1), "nothing was dealt");
  for (const offset of [0, 10, 20, 30]) inFlight.deal(1, piece(1, offset), 0);
  inFlight.deal(1, piece(2, 0), 0);
  inFlight.left(piece(1, 0));
  inFlight.left(piece(1, 0));
  inFlight.left(piece(1, 50));
  // Another stream sends it as well.
  inFlight.deal(2, piece(1, 0), 1);
  inFlight.acknowledge(1, 1, 10, 2);
  inFlight.lose(1, 1, 20);
  t.notOk(inFlight.hasLeft(1), "one is here still");
  inFlight.left(piece(1, 30));
  t.ok(inFlight.hasLeft(1));
  inFlight.deal(1, piece(1, 20), 3);
  t.notOk(inFlight.hasLeft(1), "what was lost is sent again");
  inFlight.closeStream(1);
  t.ok(inFlight.hasLeft(1));
  t.ok(inFlight.hasLeft(2));
  inFlight.deal(2, piece(2, 0), 4);
  inFlight.forgetFile(2);
  t.ok(inFlight.hasLeft(2));
});
