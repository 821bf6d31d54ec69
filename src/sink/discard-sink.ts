/** Takes everything and keeps nothing: what a measurement of the path writes to. */
import { FILE_BYTES_MAX } from "../protocol/limits.ts";
import type { Part, Sink, SinkCapabilities } from "./sink.ts";

const nowhere: Part = {
  open: () => ({ kind: "discard" }),
  write: () => {},
  written: () => {},
  commit: () => Promise.resolve(),
  abort: () => Promise.resolve(),
};

export class DiscardSink implements Sink {
  readonly capabilities: SinkCapabilities = {
    randomAccess: true,
    blockBytes: 1,
    fileBytesMax: FILE_BYTES_MAX,
    keeps: "nothing",
  };

  find(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
  reserve(): Promise<Part> {
    return Promise.resolve(nowhere);
  }
  dropLeftovers(): Promise<number> {
    return Promise.resolve(0);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}
