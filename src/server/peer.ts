/** Who a connection's other end is. Sessions belong to a peer; this one function says who that is. */
import type { Socket } from "node:net";
import { isIPv6Address } from "../net/dial.ts";

const IPV4_MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/**
 * The peer behind a socket's remote address: the canonical IP address. An IPv4 address mapped into IPv6 (RFC 4291,
 * 2.5.5.2), as a listener for both families sees it, is the IPv4 address; the zone of a link-local address is dropped.
 */
export function peerOf(remoteAddress: NonNullable<Socket["remoteAddress"]>): string {
  const address = remoteAddress.split("%")[0]?.toLowerCase() ?? remoteAddress;
  return IPV4_MAPPED.exec(address)?.[1] ?? address;
}

/** 16-bit groups of the part of an IPv6 address that a network is known by. */
const NETWORK_GROUPS = 4;

/**
 * What counts as one when places, room and guesses are counted: an IPv4 address; of IPv6 its /64, which is what one
 * customer gets at least and one machine has all of to itself (RFC 4291, 2.5.1; RFC 6177). Anything else, such as a
 * name, of which `cert:NAME` has a colon as well, stands for itself.
 */
export function networkOf(peer: string): string {
  if (!isIPv6Address(peer)) return peer;
  const [head = "", tail] = peer.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? 0 : tail.split(":").length + (tail.includes(".") ? 1 : 0);
    const zeros = 8 - groups.length - after;
    groups.push(...Array.from({ length: Math.max(0, zeros) }, () => "0"), ...(tail === "" ? [] : tail.split(":")));
  }
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(":")}::/64`;
}
