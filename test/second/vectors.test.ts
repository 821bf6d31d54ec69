/** Every golden vector, read by the second implementation, which was written from PROTOCOL.md alone. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { blake3 } from "./blake3.ts";
import { readBundle } from "./content.ts";
import { Breach } from "./errors.ts";
import { chooseVersion, type Header, readGreeting, readHeader } from "./frames.ts";
import { Receiver } from "./receiver.ts";
import type { End } from "./states.ts";

interface Refused {
  readonly error: string;
}

interface Vector<Expected> {
  readonly name: string;
  readonly hex: string;
  readonly expect: Expected | Refused;
  readonly decoded?: string | null;
  readonly receiver: { readonly side: End["side"]; readonly role?: End["role"]; readonly state: string };
}

const FLAGS = ["raw", "zstd", "sparse"];
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function vectors<Expected>(t: Test, file: string, check: (t: Test, vector: Vector<Expected>) => void): void {
  const path = join(import.meta.dirname, "..", "vectors", `${file}.json`);
  for (const vector of JSON.parse(readFileSync(path, "utf8")).vectors as Vector<Expected>[]) {
    t.test(`${file}: ${vector.name}`, async (t) => check(t, vector));
  }
}

/** The code that `act` throws, or what it returns. */
function result<T>(act: () => T): T | Refused {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof Breach)) throw error;
    return { error: error.code };
  }
}

/** As the vectors write it. */
const plain = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return { bytes: hex(value) };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, plain(of)]));
};

/** What the frames of `vector` are to their receiver; `slice` bytes come at once. */
function read({ hex: bytes, receiver: { side, role, state } }: Vector<unknown>, slice: number): unknown {
  const other = { source: "sink", sink: "source" } as const;
  const receiver = new Receiver({ side: side === "client" ? "server" : "client", role: role && other[role] }, true);
  receiver.state = state;
  receiver.chunkBytes = 65_536;
  const all = Buffer.from(bytes, "hex");
  const events: unknown[] = [];
  for (let at = 0; at < all.length; at += slice) {
    receiver.add(all.subarray(at, at + slice));
    for (let frame = receiver.next(); frame !== null; frame = receiver.next()) {
      const { name, file, offset, payload, content, fields } = frame;
      // The session that is named says who is the source.
      if (name === "ATTACH") receiver.peer = { side: "client", role: "source" };
      if (name === "CHUNK") events.push({ file, offset, payload: hex(payload), content: content && hex(content) });
      else if (name === "BUNDLE") events.push({ file, files: content && readBundle(content) });
      else events.push({ message: name, body: plain(fields) });
    }
  }
  return events;
}

vectors<{ min: number; max: number; chosen?: number }>(t, "greeting", (t, { hex, expect }) => {
  const bytes = Buffer.from(hex, "hex");
  const found = result(() => readGreeting(bytes));
  if ("error" in expect) return t.same(found, expect);
  t.same(found, { lowest: expect.min, highest: expect.max });
  t.same(
    result(() => chooseVersion(readGreeting(bytes))),
    expect.chosen ?? 1,
  );
});

vectors<object>(t, "headers", (t, { hex, expect }) => {
  const found = result<Header | null>(() => readHeader(Buffer.from(hex, "hex")));
  if (found === null || "error" in found) return t.same(found, expect);
  const { name, file, offset, wireBytes, crc, flags, decodedBytes } = found;
  const encoding = FLAGS[flags];
  t.same({ name, file, offset, payloadBytes: wireBytes, payloadCrc32: crc, encoding, decodedBytes }, expect);
});

/** What one frame is to its receiver, as the vectors write it. */
interface Event {
  readonly chunk?: {
    readonly file: number;
    readonly offset: number;
    readonly payload: string;
    readonly intact: boolean;
    readonly encoding?: string;
  };
  readonly bundle?: {
    readonly file: number;
    readonly files: readonly { readonly file: number; readonly crc32: number; readonly content: string }[];
    readonly intact: boolean;
  };
}

for (const file of ["messages", "liberal", "chunks", "bad"]) {
  vectors<readonly Event[]>(t, file, (t, vector) => {
    for (const slice of [vector.hex.length, 1]) {
      const found = result(() => read(vector, slice));
      const expected = "error" in vector.expect ? [] : vector.expect;
      const last = expected.at(-1);
      if (last?.chunk) {
        const { file, offset, payload, intact, encoding = "raw" } = last.chunk;
        const raw = intact ? payload : null;
        const before = expected.slice(0, -1);
        t.same(found, [...before, { file, offset, payload, content: encoding === "raw" ? raw : vector.decoded }]);
      } else if (last?.bundle) {
        const { file, files, intact } = last.bundle;
        const table = files.map((of) => ({
          file: of.file,
          content: Buffer.from(of.content, "hex"),
          crc: of.crc32,
        }));
        t.same(found, [{ file, files: intact ? table : null }]);
      } else t.same(found, vector.expect);
    }
  });
}

t.test("BLAKE3", async (t) => {
  // The vectors of its authors: bytes count from 0 to 250 and begin anew.
  const content = (bytes: number) => Buffer.from(Array.from({ length: bytes }, (_, i) => i % 251));
  t.equal(hex(blake3(content(0))), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
  t.equal(hex(blake3(content(1024))), "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7");
  t.equal(hex(blake3(content(3073))), "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3");
});
