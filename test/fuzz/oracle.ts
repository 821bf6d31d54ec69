/** What has to hold of whatever a decoder took, be it as odd as it may. Each throws an AssertionError where it doesn't. */
import assert from "node:assert/strict";
import { Unpackr } from "msgpackr";
import * as v from "valibot";
import { decodeBundle } from "../../src/protocol/bundle.ts";
import { ChunkDigests } from "../../src/protocol/chunk-digests.ts";
import type { ArrivedChunk, NamedMessage } from "../../src/protocol/conversation.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { HawserError, LocalProtocolError } from "../../src/protocol/errors.ts";
import type { MessageName } from "../../src/protocol/header.ts";
import { CHUNK_DIGEST_BYTES } from "../../src/protocol/limits.ts";
import { decodeMessage, encodeMessage, type Message, SCHEMAS } from "../../src/protocol/messages.ts";
import { assertPlain } from "../../src/protocol/msgpack-scan.ts";
import { decodePlainOffer } from "../../src/protocol/offer-decoder.ts";
import { OfferPage } from "../../src/protocol/offer-page.ts";
import { decodeSparse, sparseCrc32, zerosBetween } from "../../src/protocol/sparse.ts";
import { CHUNK_BYTES } from "../helpers/conversation.ts";
import { checkBundleAlike } from "./second-opinion.ts";

const unpackr = new Unpackr({ useRecords: false, structuredClone: false, int64AsType: "number", copyBuffers: true });

/** An OFFER without the short way. */
function decodeOfferSlowly(payload: Uint8Array): Message<"OFFER"> | undefined {
  try {
    assertPlain(payload);
    return v.parse(SCHEMAS.OFFER, unpackr.unpack(payload));
  } catch {
    return undefined;
  }
}

/** The short way to an offer leads where the long one does, or nowhere. */
export function checkOffer(payload: Uint8Array): void {
  const bytes = new Uint8Array(payload);
  const short = decodePlainOffer(bytes);
  if (short !== undefined) assert.deepEqual(short, decodeOfferSlowly(bytes), "the two ways to an OFFER part");
}

const page = new OfferPage();

/** Digests that came are kept under their chunks, and nothing of them when they are let go. */
function checkDigests({ offset, digests }: Message<"HAVE">): void {
  if (digests === undefined) return;
  const kept = new ChunkDigests();
  const first = Math.floor(offset / CHUNK_BYTES);
  const count = Math.min(digests.length / CHUNK_DIGEST_BYTES, 8);
  const digestOf = (i: number) => digests.subarray(i * CHUNK_DIGEST_BYTES, (i + 1) * CHUNK_DIGEST_BYTES);
  for (let i = 0; i < count; i++) kept.set(first + i, digestOf(i));
  assert.equal(kept.size, count);
  for (let i = 0; i < count; i++) {
    assert.deepEqual(Buffer.from(kept.get(first + i) ?? []), Buffer.from(digestOf(i)));
    assert.ok(kept.delete(first + i) && !kept.delete(first + i));
  }
  assert.equal(kept.size, 0);
}

/** A HawserError out of a check is none about what came. */
function decodeAgain<N extends MessageName>(name: N, payload: Uint8Array): Message<N> {
  try {
    return decodeMessage(name, payload);
  } catch (cause) {
    throw new Error(`a ${name} that was taken can't be read when it is said again`, { cause });
  }
}

/** What came can be said again, and is then the same; an offer also by the short way. */
export function checkMessage({ name, body }: NamedMessage): void {
  if (name === "HAVE") checkDigests(body);
  let payload: Uint8Array;
  try {
    // Not a Buffer: what is read from one is one.
    payload = new Uint8Array(encodeMessage(name, body));
  } catch (thrown) {
    // Numbers that came in four bytes take eight: it may be too large then.
    if (thrown instanceof LocalProtocolError) return;
    throw thrown;
  }
  assert.deepEqual(decodeAgain(name, payload), body, `a ${name} is another when it is said again`);
  if (name !== "OFFER" || body.files.length > 8) return;
  for (const { file, name: bytes, size, mtime, mode, key, kind, target, whole, quick } of body.files) {
    if (!page.add({ file, name: bytes, size, mtime, mode, key, kind, target, whole, quick })) {
      page.take(0);
      return;
    }
  }
  const written = new Uint8Array(page.take(body.settledBelow));
  assert.deepEqual(decodeAgain("OFFER", written), body, "the two ways to write an OFFER part");
}

/** Of one case: how large chunks may be. */
export function checkChunk(chunk: ArrivedChunk, chunkBytesMax: number): void {
  const { payload, encoding, decodedBytes, payloadCrc32, intact, isBundle, file, offset } = chunk;
  assert.ok(payload.length > 0 && payload.length <= decodedBytes && decodedBytes <= chunkBytesMax);
  assert.ok(file >= 0 && file <= 0xffffffff && Number.isSafeInteger(offset) && offset >= 0);
  assert.equal(intact, encoding === "raw" ? crc32(payload) === payloadCrc32 : null);
  if (isBundle) checkBundle(payload);
  if (encoding === "sparse") checkSparse(payload, decodedBytes);
}

function checkBundle(payload: Uint8Array): void {
  let files: ReturnType<typeof decodeBundle> | undefined;
  try {
    files = decodeBundle(payload);
  } catch (thrown) {
    if (!(thrown instanceof HawserError)) throw thrown;
  }
  checkBundleAlike(payload, files);
  if (files === undefined) return;
  let at = files[0]?.start ?? 0;
  for (const { start, bytes } of files) {
    assert.equal(start, at);
    at += bytes;
  }
  assert.equal(at, payload.length);
}

function checkSparse(payload: Uint8Array, decodedBytes: number): void {
  const slices = decodeSparse(payload, decodedBytes);
  if (slices === undefined) return;
  let covered = 0;
  let at = 0;
  for (const { start, bytes } of slices) {
    assert.ok(start >= at && bytes.length > 0);
    at = start + bytes.length;
    covered += bytes.length;
  }
  assert.ok(at <= decodedBytes);
  for (const [start, end] of zerosBetween(slices, decodedBytes)) covered += end - start;
  assert.equal(covered, decodedBytes);
  sparseCrc32(slices, decodedBytes);
}
