/** Takes everything and keeps nothing: what a measurement of the path writes to. */
import { FILE_BYTES_MAX } from "../protocol/limits.ts";
import { ForgetfulSink } from "./forgetful-sink.ts";
import type { Part, SinkCapabilities } from "./sink.ts";

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

export class DiscardSink extends ForgetfulSink {
  readonly capabilities: SinkCapabilities = {
    randomAccess: true,
    blockBytes: 1,
    fileBytesMax: FILE_BYTES_MAX,
    durability: "none",
    keepsNothing: true,
  };

  reserve(): Promise<Part> {
    return Promise.resolve(nowhere);
  }
}
