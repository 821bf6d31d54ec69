import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { send } from "../../src/client/send.ts";
import type { FileResult } from "../../src/client/types.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { Part, PartSpec } from "../../src/sink/sink.ts";
import { testServer } from "../helpers/backend.ts";

/** A sink whose commits begin and then wait. */
class WaitingSink extends MemorySink {
  readonly #began: () => void;
  readonly #released: Promise<void>;

  constructor(began: () => void, released: Promise<void>) {
    super();
    this.#began = began;
    this.#released = released;
  }

  override async reserve(spec: PartSpec): Promise<Part> {
    const part = await super.reserve(spec);
    const commit = part.commit.bind(part);
    part.commit = async (size) => {
      this.#began();
      await this.#released;
      await commit(size);
    };
    return part;
  }
}

t.test("a transfer that is stopped while its file is committed hears what becomes of it", async (t) => {
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const stopping = new AbortController();
  let isCommitting = false;
  const sink = new WaitingSink(() => {
    isCommitting = true;
  }, released);
  const { address } = await testServer(t, { sink });
  const path = join(t.testdir(), "file");
  writeFileSync(path, Buffer.alloc(300_000, 7));
  const files: FileResult[] = [];
  const result = await send({
    paths: [path],
    to: address,
    signal: stopping.signal,
    onEvent: (event) => {
      if (event.type === "file") files.push(event.file);
      // All is acknowledged and only the commit is waited for: told to stop now, the client has nothing in flight.
      if (event.type === "progress" && event.phase === "committing" && isCommitting && !stopping.signal.aborted) {
        stopping.abort();
        setImmediate(release);
      }
    },
  });
  t.match(result, { ok: true, exitCode: 0, filesCommitted: 1, error: null }, "all was there, and all is committed");
  t.match(files, [{ name: "file", status: "sent" }]);
});
