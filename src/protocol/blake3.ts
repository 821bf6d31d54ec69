/** BLAKE3, from a native module that is loaded when something is digested: most transfers need none. */
import { createRequire } from "node:module";

type Native = typeof import("@napi-rs/blake-hash");
export type Blake3Hasher = InstanceType<Native["Blake3Hasher"]>;

let loaded: Native | undefined;

function native(): Native {
  loaded ??= createRequire(import.meta.url)("@napi-rs/blake-hash") as Native;
  return loaded;
}

/** The digest of `bytes`. */
export function blake3(bytes: Buffer): Buffer {
  return native().blake3(bytes);
}

/** For what comes bit by bit. */
export function blake3Hasher(): Blake3Hasher {
  return new (native().Blake3Hasher)();
}
