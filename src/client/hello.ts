/** What a client says first: who it is, what it wants, and which session it had, if it had one. */
import { AGENT } from "../agent.ts";
import type { Terms } from "../net/transfer-end.ts";
import { STREAMS_MAX } from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import type { SealCipher } from "../protocol/sealed.ts";
import type { LinkOptions } from "./link.ts";

/** `terms`: of the session that is to go on; `seal`: what streams can be sealed with. */
export function helloOf(
  options: LinkOptions,
  terms: Terms | undefined,
  seal: readonly SealCipher[] | undefined,
): Message<"HELLO"> {
  const { role, purpose, streams, chunkBytes, keys = [], fresh = false } = options;
  const { overwrite, preserveMode, verify, delta } = options;
  const most = streams === "auto" ? STREAMS_MAX : streams;
  const hello: Message<"HELLO"> = { agent: AGENT, role, purpose, streams: most, chunkBytes };
  if (keys.length > 0) hello.keys = [...keys];
  if (overwrite !== undefined) hello.overwrite = overwrite;
  if (preserveMode !== undefined) hello.preserveMode = preserveMode;
  if (verify !== undefined) hello.verify = verify;
  if (delta !== undefined) hello.delta = delta;
  if (seal !== undefined) hello.seal = [...seal];
  if (terms !== undefined) {
    hello.session = terms.session;
    hello.generation = terms.generation;
  } else if (fresh) hello.fresh = true;
  return hello;
}
