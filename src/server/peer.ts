/** Who a connection's other end is. Sessions belong to a peer; this one function says who that is. */
import type { Socket } from "node:net";

const IPV4_MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/**
 * The peer behind a socket's remote address: the canonical IP address. An IPv4 address mapped into IPv6 (RFC 4291,
 * 2.5.5.2), as a listener for both families sees it, is the IPv4 address; the zone of a link-local address is dropped.
 */
export function peerOf(remoteAddress: NonNullable<Socket["remoteAddress"]>): string {
  const address = remoteAddress.split("%")[0]?.toLowerCase() ?? remoteAddress;
  return IPV4_MAPPED.exec(address)?.[1] ?? address;
}
