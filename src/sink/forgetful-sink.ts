/** What is said of files by a sink that can't give any of them back: nothing lies there, nor is left of earlier runs. */
import type { Part, PartSpec, Sink, SinkCapabilities } from "./sink.ts";

export abstract class ForgetfulSink implements Sink {
  abstract readonly capabilities: SinkCapabilities;
  abstract reserve(spec: PartSpec): Promise<Part>;

  find(): Promise<undefined> {
    return Promise.resolve(undefined);
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
