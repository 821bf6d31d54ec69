/** What to do with a file that is offered: refuse it, compare it with what is there, or have it sent. */
import { HawserError } from "../protocol/errors.ts";
import type { OfferedFile } from "../protocol/messages.ts";
import { displayName, nameRefusal } from "../protocol/names.ts";
import { BlockPart } from "./block-part.ts";
import { PLATFORM } from "./platform.ts";
import type { ExistingFile, Part, Sink } from "./sink.ts";

export type Plan =
  | { readonly action: "send"; readonly part: Part }
  /** Something of the same size is there: its digest will say whether it is the same. */
  | { readonly action: "compare"; readonly existing: ExistingFile };

/** Reserves a part for the file, or finds that it may be there already. Throws E_NAME, E_EXISTS and what sinks throw. */
export async function planFile(sink: Sink, offer: OfferedFile, partId: string): Promise<Plan> {
  const { name, size, mtime, mode } = offer;
  const refusal = nameRefusal(name, PLATFORM);
  if (refusal !== undefined) throw new HawserError("E_NAME", `the name '${displayName(name)}' is refused: ${refusal}`);
  const existing = await sink.find(name);
  if (existing !== undefined) {
    if (existing.size === null || existing.size !== size) throw alreadyThere(name, existing);
    return { action: "compare", existing };
  }
  const part = await sink.reserve({ id: partId, name, size, mtime, mode });
  const { randomAccess, blockBytes } = sink.capabilities;
  return { action: "send", part: randomAccess ? part : new BlockPart(part, blockBytes, size) };
}

/** E_EXISTS for a name that something else has. */
export function alreadyThere(name: Uint8Array, { size }: ExistingFile): HawserError {
  const what = size === null ? "something that is not a file" : "a file with other content";
  return new HawserError("E_EXISTS", `${what} is already there under the name '${displayName(name)}'`);
}
