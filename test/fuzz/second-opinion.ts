/**
 * What the second implementation, which was written from PROTOCOL.md alone, makes of the same bytes: it has to take the same
 * frames, read the same of them, and find the same wrong with the first that it does not take.
 */
import assert from "node:assert/strict";
import type { decodeBundle } from "../../src/protocol/bundle.ts";
import type { ArrivedChunk, NamedMessage } from "../../src/protocol/conversation.ts";
import type { HawserError } from "../../src/protocol/errors.ts";
import type { FrameName } from "../../src/protocol/header.ts";
import { GREETING_BYTES, HEADER_BYTES } from "../../src/protocol/limits.ts";
import { decodeSparse, sparseCrc32 } from "../../src/protocol/sparse.ts";
import type { Role } from "../../src/protocol/states.ts";
import { CHUNK_BYTES, other } from "../helpers/conversation.ts";
import { readBundle } from "../second/content.ts";
import { Breach } from "../second/errors.ts";
import { type Frame, Receiver } from "../second/receiver.ts";
import { after, type End } from "../second/states.ts";
import type { Stage } from "./stages.ts";

/** What was done with an end under test, in its order. */
type Event = { readonly bytes: Buffer } | { readonly says: FrameName };

/** A frame that it took: of a message what it says, of a chunk whether it was whole; undefined where only zstd knows. */
type Taken =
  | { readonly name: FrameName; readonly body: object; readonly role: Role | undefined }
  | { readonly name: FrameName; readonly isIntact: boolean | undefined };

export class SecondOpinion {
  readonly #stage: Stage;
  readonly #events: Event[] = [];
  readonly #taken: Taken[] = [];

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  heard(bytes: Uint8Array): void {
    this.#events.push({ bytes: Buffer.from(bytes) });
  }
  said(says: FrameName): void {
    this.#events.push({ says });
  }

  /** `role`: what this end learned by it. */
  tookMessage({ name, body }: NamedMessage, role: Role | undefined): void {
    this.#taken.push({ name, body, role });
  }
  tookChunk({ isBundle, encoding, intact, payload, decodedBytes, payloadCrc32 }: ArrivedChunk): void {
    let isIntact: boolean | undefined = intact ?? undefined;
    if (encoding === "sparse") {
      const slices = decodeSparse(payload, decodedBytes);
      isIntact = slices !== undefined && sparseCrc32(slices, decodedBytes) === payloadCrc32;
    }
    this.#taken.push({ name: isBundle ? "BUNDLE" : "CHUNK", isIntact });
  }

  /** Throws an AssertionError where the two part. `error`: how it ended for the end under test, if it did. */
  compare(error: HawserError | undefined): void {
    const { side, role } = this.#stage;
    const me: End = { side, role };
    // A server knows no role before HELLO or ATTACH.
    const isNew = this.#stage.turns.length === 0 && side === "server";
    const receiver = new Receiver({
      side: side === "client" ? "server" : "client",
      role: isNew ? undefined : other(role),
    });
    receiver.chunkBytes = CHUNK_BYTES;
    let heard = 0;
    let read = GREETING_BYTES;
    let at = 0;
    /** This end said something between two halves of a frame: it judges that again when it is whole, which may be never. */
    let isBetween = false;
    for (const event of this.#events) {
      if ("says" in event) {
        isBetween = heard > read;
        const isRole = receiver.peer.role === undefined ? undefined : other(receiver.peer.role);
        receiver.state =
          after(receiver.state, event.says, { ...me, role: isRole }) ?? assert.fail(`${event.says} was said`);
        continue;
      }
      heard += event.bytes.length;
      receiver.add(event.bytes);
      for (;;) {
        let frame: Frame | null;
        try {
          frame = receiver.next();
        } catch (thrown) {
          assert.ok(thrown instanceof Breach, thrown as Error);
          const taken = this.#taken[at];
          if (taken !== undefined && isLenient(thrown)) return;
          if (error === undefined && isBetween && thrown.code === "E_WRONG_STATE") return;
          assert.equal(taken?.name, undefined, `this end took a frame that is ${thrown.message}`);
          assert.equal(error?.code, thrown.code, `${thrown.message}, and here it is ${error?.message}`);
          return;
        }
        if (frame === null) break;
        const taken = this.#taken[at++];
        read += HEADER_BYTES + frame.wireBytes;
        isBetween = false;
        if (taken === undefined) {
          if (error !== undefined && isStrict(error)) return;
          assert.fail(`a ${frame.name} frame is right, and here it is ${error?.message ?? "passed over"}`);
        }
        assert.equal(taken.name, frame.name);
        if ("isIntact" in taken) assert.ok(taken.isIntact === undefined || taken.isIntact === (frame.content !== null));
        else {
          checkSame(taken.body, frame.fields, frame.name);
          if (taken.role !== undefined) receiver.peer = { ...receiver.peer, role: other(taken.role) };
        }
      }
    }
    assert.equal(this.#taken.length, at, "this end took more frames");
    // It finds another program out by its first byte.
    if (error?.code === "E_NOT_HAWSER" && heard < GREETING_BYTES) return;
    assert.equal(error, undefined, error?.message);
  }
}

/** The document lets a receiver take these: what comes twice, and names that are none. */
const isLenient = ({ code, message }: Breach) =>
  code === "E_BAD_MESSAGE" && /twice|a key that is no text/.test(message);

/** The document lets a receiver refuse these: much depth, also where nothing is read. */
const isStrict = ({ code, cause }: HawserError) =>
  code === "E_BAD_MESSAGE" && cause instanceof RangeError && cause.message === "msgpack nested too deep";

/** All that one end reads the other reads, too; the other may know more fields than are named. */
function checkSame(ours: unknown, theirs: unknown, where: string): void {
  if (ours instanceof Uint8Array) {
    assert.ok(theirs instanceof Uint8Array && Buffer.compare(ours, theirs) === 0, where);
  } else if (Array.isArray(ours)) {
    assert.ok(Array.isArray(theirs) && theirs.length === ours.length, where);
    for (const [i, one] of ours.entries()) checkSame(one, theirs[i], `${where}.${i}`);
  } else if (typeof ours === "object" && ours !== null) {
    for (const [field, value] of Object.entries(ours)) {
      checkSame(value, (theirs as Record<string, unknown>)[field], `${where}.${field}`);
    }
  } else if (typeof ours === "string" && typeof theirs === "string" && theirs.includes("\ufffd")) {
    // Of what is no UTF-8 anything may be made.
  } else assert.deepEqual(ours, theirs, where);
}

/** Both find the same files in a bundle, or none. */
export function checkBundleAlike(payload: Uint8Array, ours: ReturnType<typeof decodeBundle> | undefined): void {
  let theirs: ReturnType<typeof readBundle> | undefined;
  try {
    theirs = readBundle(Buffer.from(payload));
  } catch (thrown) {
    if (!(thrown instanceof Breach)) throw thrown;
  }
  const plain = theirs?.map(({ file, crc, content }) => ({ file, crc32: crc, bytes: content.length }));
  assert.deepEqual(
    ours?.map(({ file, crc32, bytes }) => ({ file, crc32, bytes })),
    plain,
    "a bundle's table",
  );
}
