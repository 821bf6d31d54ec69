import t from "tap";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { nameOf } from "../helpers/bytes.ts";
import { sinkConformance } from "./sink-conformance.ts";

sinkConformance(t, {
  chunkBytes: 64 * 1024,
  make: (_t, { fileBytesMax } = {}) => {
    const sink = new MemorySink(fileBytesMax);
    return { sink, read: (name) => sink.read(nameOf(name)), partsHeld: () => sink.partsOpen };
  },
});
