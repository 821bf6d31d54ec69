/** `HOST[:PORT]` as people write it. IPv6 addresses stand in brackets. Pure functions. */
import { isIPv4 } from "node:net";
import { type Endpoint, isIPv6Address } from "../net/dial.ts";
import { DEFAULT_PORT } from "../protocol/limits.ts";

export const ENDPOINT_EXPECTED =
  "HOST or HOST:PORT (a port is 1 to 65535), such as nas, nas:23300, 192.168.1.7 or [fe80::1]:23300";

/** A host name of letters, digits, dots, hyphens and underscores; labels are not checked further: the resolver knows. */
const HOST_NAME = /^[a-z0-9_]([a-z0-9._-]*[a-z0-9_.])?$/i;

/** Digits and dots only: meant as an IPv4 address, and wrong when it is not one. */
const LIKE_IPV4 = /^[0-9.]+$/;

export function parseEndpoint(text: string): Endpoint | undefined {
  const trimmed = text.trim();
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(trimmed);
  if (bracketed !== null) {
    const [, host = "", port] = bracketed;
    return isIPv6Address(host) ? withPort(host, port) : undefined;
  }
  const plain = /^([^:]+)(?::(\d+))?$/.exec(trimmed);
  if (plain === null) return undefined;
  const [, host = "", port] = plain;
  return isHost(host) ? withPort(host, port) : undefined;
}

/** An address to listen on: with or without brackets. */
export function parseHost(text: string): string | undefined {
  const trimmed = text.trim();
  const bare = /^\[([^\]]+)\]$/.exec(trimmed)?.[1] ?? trimmed;
  if (isIPv6Address(bare)) return bare;
  return bare === trimmed && isHost(bare) ? bare : undefined;
}

function isHost(host: string): boolean {
  if (LIKE_IPV4.test(host)) return isIPv4(host);
  return host.length <= 253 && HOST_NAME.test(host);
}

function withPort(host: string, port: string | undefined): Endpoint | undefined {
  if (port === undefined) return { host, port: DEFAULT_PORT };
  const number = Number(port);
  return number >= 1 && number <= 65535 ? { host, port: number } : undefined;
}

/** Whether `host` certainly stays on this machine. A name that resolves to loopback can't be told here. */
export function isLoopback(host: string): boolean {
  const lower = host.toLowerCase().replace(/\.$/, "");
  if (isIPv4(lower)) return lower.startsWith("127.");
  if (!isIPv6Address(lower)) return lower === "localhost" || lower.endsWith(".localhost");
  // The URL parser writes an IPv6 address in its canonical form; a zone is not part of a loopback address.
  const canonical = URL.canParse(`http://[${lower}]`) ? new URL(`http://[${lower}]`).hostname : "";
  return canonical === "[::1]" || /^\[::ffff:7f[0-9a-f]{2}:/.test(canonical);
}
