/** Which addresses may come at all: those that are allowed, or all where none is named, less those that are denied. */
import { BlockList } from "node:net";
import { parseNetwork } from "../net/network.ts";
import { HawserError } from "../protocol/errors.ts";

export class AddressRules {
  readonly #allowed: BlockList | undefined;
  readonly #denied: BlockList | undefined;

  /** Addresses, or networks as `ADDRESS/BITS` (RFC 4632). Throws E_CONFIG. */
  constructor(allow: readonly string[] = [], deny: readonly string[] = []) {
    this.#allowed = listOf(allow);
    this.#denied = listOf(deny);
  }

  /** Of a canonical address, as `peerOf` gives it. */
  admits(address: string): boolean {
    const family = address.includes(":") ? "ipv6" : "ipv4";
    if (this.#denied?.check(address, family)) return false;
    return this.#allowed === undefined || this.#allowed.check(address, family);
  }
}

function listOf(networks: readonly string[]): BlockList | undefined {
  if (networks.length === 0) return undefined;
  const list = new BlockList();
  for (const network of networks) {
    const parsed = parseNetwork(network);
    if (parsed === undefined) throw new HawserError("E_CONFIG", `'${network}' is no address and no network`);
    list.addSubnet(parsed.address, parsed.bits, parsed.family);
  }
  return list;
}
