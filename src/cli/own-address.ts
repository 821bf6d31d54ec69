/** Where others may find this machine, for a ticket that names no address. A guess that a flag corrects. */
import { hostname, type NetworkInterfaceInfo, networkInterfaces } from "node:os";

type Interfaces = Readonly<
  Record<string, readonly Pick<NetworkInterfaceInfo, "address" | "family" | "internal">[] | undefined>
>;

/** The first address that is not this machine's alone, IPv4 before IPv6; its name where it has none. */
export function ownAddress(interfaces: Interfaces = networkInterfaces(), name = hostname()): string {
  const all = Object.values(interfaces).flatMap((addresses) => addresses ?? []);
  // A link-local address needs a zone, which is another on each machine (RFC 4007, 6).
  const usable = all.filter(({ internal, address }) => !internal && !/^(fe[89ab]|169\.254\.)/i.test(address));
  const found = usable.find(({ family }) => family === "IPv4") ?? usable[0];
  return found?.address ?? name;
}
