/** Directories, links and small files in memory. */
import t from "tap";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { nameOf } from "../helpers/bytes.ts";
import { treeConformance } from "./tree-conformance.ts";

treeConformance(t, (_t, fileBytesMax) => {
  const sink = new MemorySink(fileBytesMax);
  return { sink, read: (name) => sink.read(nameOf(name)), partsHeld: () => sink.partsKept };
});
