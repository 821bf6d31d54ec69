/**
 * Which cipher of TLS 1.3 comes first: AES-GCM where the processor has AES, which is faster by a third then and slower
 * by a multiple without. Measured, since no system says it in the same way.
 */
import { createCipheriv } from "node:crypto";
import { SEAL_KEY_BYTES, type SealCipher } from "../protocol/sealed.ts";

const SAMPLE_BYTES = 64 * 1024;
const ROUNDS_MIN = 3;
const ROUNDS_MAX = 16;

/** AES-128 before AES-256: faster, and as far out of reach. */
const AES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
const CHACHA = ["TLS_CHACHA20_POLY1305_SHA256"];

let measured: boolean | undefined;

/** OpenSSL's list, best first. */
export function cipherList(): string {
  return (hasAes() ? [...AES, ...CHACHA] : [...CHACHA, ...AES]).join(":");
}

/** The same for sealed streams, as they are called on the wire. */
export function sealCiphers(): SealCipher[] {
  return hasAes() ? ["aes-128-gcm", "chacha20-poly1305"] : ["chacha20-poly1305", "aes-128-gcm"];
}

/** Of what a client offers, best first, what both ends do well: ChaCha20 where either of them has no AES. */
export function preferredSeal(offered: readonly string[]): SealCipher | undefined {
  const known = offered.filter((name): name is SealCipher => Object.hasOwn(SEAL_KEY_BYTES, name));
  return !hasAes() && known.includes("chacha20-poly1305") ? "chacha20-poly1305" : known[0];
}

function hasAes(): boolean {
  measured ??= isAsFast(sampleMs("aes-128-gcm", 16), sampleMs("chacha20-poly1305", 32));
  return measured;
}

/**
 * Whether AES has hardware here, by what each call of either cipher takes: in software AES takes several times as long as
 * ChaCha20, in hardware less; twice is far from both. Whatever else the machine does only makes a call longer, so the shortest count, of
 * both in turn, and a first glance is enough to say yes but not to say no: a busy start must not choose the slower cipher for
 * as long as a server runs. Takes a millisecond, and some ten where there is no AES.
 */
export function isAsFast(aesMs: () => number, chachaMs: () => number): boolean {
  let bestAesMs = Number.POSITIVE_INFINITY;
  let bestChachaMs = Number.POSITIVE_INFINITY;
  for (let round = 1; round <= ROUNDS_MAX; round++) {
    bestAesMs = Math.min(bestAesMs, aesMs());
    bestChachaMs = Math.min(bestChachaMs, chachaMs());
    if (round >= ROUNDS_MIN && bestAesMs < 2 * bestChachaMs) return true;
  }
  return false;
}

function sampleMs(name: "aes-128-gcm" | "chacha20-poly1305", keyBytes: number): () => number {
  const sample = new Uint8Array(SAMPLE_BYTES);
  return () => {
    const cipher = createCipheriv(name as "aes-128-gcm", new Uint8Array(keyBytes), new Uint8Array(12));
    const startedMs = performance.now();
    cipher.update(sample);
    return performance.now() - startedMs;
  };
}
