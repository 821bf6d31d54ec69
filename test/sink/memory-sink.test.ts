import t from "tap";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { nameOf } from "../helpers/bytes.ts";
import { sinkConformance, specOf } from "./sink-conformance.ts";

sinkConformance(t, {
  chunkBytes: 64 * 1024,
  make: (_t, { fileBytesMax } = {}) => {
    const sink = new MemorySink(fileBytesMax);
    return { sink, read: (name) => sink.read(nameOf(name)), partsHeld: () => sink.partsKept };
  },
});

t.test("a part that is closed is kept, and not open", async (t) => {
  const sink = new MemorySink();
  const spec = specOf("a", 4);
  const part = await sink.reserve(spec);
  t.strictSame([sink.partsOpen, sink.partsKept], [1, 1]);
  await part.close();
  t.strictSame([sink.partsOpen, sink.partsKept], [0, 1]);
  await sink.reopen(spec);
  t.strictSame([sink.partsOpen, sink.partsKept], [1, 1]);
});
