/** Networks as text: an address, or ADDRESS/BITS (RFC 4632; RFC 4291, 2.3). */
import { isIPv4, isIPv6 } from "node:net";

/** An address or ADDRESS/BITS; undefined where it is neither. */
export function parseNetwork(
  text: string,
): { readonly address: string; readonly bits: number; readonly family: "ipv4" | "ipv6" } | undefined {
  const [, address = "", bits] = /^([^/]+?)(?:\/(\d{1,3}))?$/.exec(text.trim()) ?? [];
  const family = isIPv4(address) ? "ipv4" : isIPv6(address) && !address.includes("%") ? "ipv6" : undefined;
  if (family === undefined) return undefined;
  const most = family === "ipv4" ? 32 : 128;
  const count = bits === undefined ? most : Number(bits);
  return count <= most ? { address, bits: count, family } : undefined;
}
