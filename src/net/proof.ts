/**
 * How two ends show each other that they know a ticket's token without saying it: an HMAC over what only the two ends of
 * this one TLS connection have in common, its exporter (RFC 8446, 7.5). Whoever sits in between has two connections with
 * two exporters, so neither a proof that is relayed nor one that was seen before is worth anything. PROTOCOL.md has the
 * bytes. Pure: node:crypto is all it uses.
 */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";

/** What a proof is for: one that was made for one message is no good in another. */
export type ProofOf = "HELLO" | "WELCOME" | "ATTACH" | "ATTACHED";

export const EXPORTER_LABEL = "EXPORTER-hawser-1";
export const EXPORTER_BYTES = 32;
const KEY_BYTES = 32;

/** The key that both ends keep of a token: HKDF-SHA256 (RFC 5869), without salt. */
export function ticketKeyOf(token: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", token, new Uint8Array(0), "hawser 1 ticket key", KEY_BYTES));
}

/** HMAC-SHA256 (RFC 2104) of the message's name, a zero byte, and the connection's exporter. */
export function proofOf(message: ProofOf, key: Uint8Array, exporter: Uint8Array): Uint8Array {
  const hmac = createHmac("sha256", key).update(`hawser 1 ${message}`).update(Uint8Array.of(0)).update(exporter);
  return new Uint8Array(hmac.digest());
}

/** Compares in a time that does not depend on where they differ. */
export function isProof(
  given: Uint8Array | undefined,
  message: ProofOf,
  key: Uint8Array,
  exporter: Uint8Array,
): boolean {
  const expected = proofOf(message, key, exporter);
  return given !== undefined && given.length === expected.length && timingSafeEqual(given, expected);
}
