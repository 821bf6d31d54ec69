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
