import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { send } from "../../src/client/send.ts";
import type { FileResult } from "../../src/client/types.ts";
import { crc32, formatCrc32 } from "../../src/protocol/crc32.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { Part, PartSpec } from "../../src/sink/sink.ts";
import { testServer } from "../helpers/backend.ts";
import { randomBytesOf } from "../helpers/bytes.ts";

const CHUNK = 65_536;

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
    part.commit = async (size, crc32) => {
      this.#began();
      await this.#released;
      return commit(size, crc32);
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

/** A sink that tells of the chunk that was written as the `count`th. */
class CountingSink extends MemorySink {
  written = 0;
  readonly #count: number;
  readonly #onCount: () => void;
  readonly #seen = new WeakSet<Part>();

  constructor(count: number, onCount: () => void) {
    super();
    this.#count = count;
    this.#onCount = onCount;
  }

  override async reserve(spec: PartSpec): Promise<Part> {
    return this.#watched(await super.reserve(spec));
  }
  override async reopen(spec: PartSpec): Promise<Part | undefined> {
    const part = await super.reopen(spec);
    return part && this.#watched(part);
  }

  #watched(part: Part): Part {
    // One that is opened again is the same.
    if (this.#seen.has(part)) return part;
    this.#seen.add(part);
    const { write } = part;
    part.write = (...args) => {
      if (++this.written === this.#count) this.#onCount();
      return write.apply(part, args);
    };
    return part;
  }
}

t.test("a transfer that was stopped goes on where it stood, and what is there is not sent again", async (t) => {
  const chunks = 400;
  const stopping = new AbortController();
  const sink = new CountingSink(20, () => stopping.abort());
  const { address } = await testServer(t, { sink });
  const path = join(t.testdir(), "file");
  const content = randomBytesOf(chunks * CHUNK + 17);
  writeFileSync(path, content);
  // One stream: what the system takes ahead of the sink is far less than the file.
  const options = { paths: [path], to: address, chunkBytes: CHUNK, streams: 1 };
  const stopped = await send({ ...options, signal: stopping.signal });
  t.match(stopped, { ok: false, exitCode: 130, error: { code: "E_INTERRUPTED", retryable: true } });
  t.type(stopped.transferId, "string");
  const files: FileResult[] = [];
  const again = await send({
    ...options,
    onEvent: (event) => {
      if (event.type === "file") files.push(event.file);
    },
  });
  t.match(again, { ok: true, exitCode: 0, transferId: stopped.transferId, bytes: content.length, bytesTrusted: 0 });
  t.ok(again.bytesResumed >= 20 * CHUNK, `${again.bytesResumed} bytes were there`);
  t.equal(again.bytesSent + again.bytesResumed, content.length);
  t.equal(sink.written, chunks + 1, "each chunk was written once");
  t.match(files, [{ status: "resumed", crc32: formatCrc32(crc32(content)) }]);
});
