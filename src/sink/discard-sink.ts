/** Takes everything and keeps nothing: what a measurement of the path writes to. */
import { FILE_BYTES_MAX } from "../protocol/limits.ts";
import type { Part, Sink, SinkCapabilities } from "./sink.ts";

const nowhere: Part = {
  open: () => ({ kind: "discard" }),
  write: () => {},
  written: () => {},
  read: () => Promise.resolve(0),
  sync: () => Promise.resolve(),
  fingerprint: "",
  commit: () => Promise.resolve({}),
  close: () => Promise.resolve(),
  abort: () => Promise.resolve(),
};

export class DiscardSink implements Sink {
  readonly capabilities: SinkCapabilities = {
    randomAccess: true,
    blockBytes: 1,
    fileBytesMax: FILE_BYTES_MAX,
    durability: "none",
  };

  find(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
  reserve(): Promise<Part> {
    return Promise.resolve(nowhere);
  }
  reopen(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
  isCommitted(): Promise<boolean> {
    return Promise.resolve(false);
  }
  dropPart(): Promise<void> {
    return Promise.resolve();
  }
  dropAllBut(): Promise<number> {
    return Promise.resolve(0);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}
