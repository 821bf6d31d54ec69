/** What to do with a file that is offered: refuse it, compare it with what is there, have it sent, or what is left of it. */
import { HawserError } from "../protocol/errors.ts";
import type { OfferedFile } from "../protocol/messages.ts";
import { displayName, nameRefusal } from "../protocol/names.ts";
import { BlockPart } from "./block-part.ts";
import { PLATFORM } from "./platform.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { ExistingFile, Part, Sink } from "./sink.ts";
import type { Owner, Unfinished } from "./unfinished.ts";

export interface Planner {
  readonly sink: Sink;
  readonly unfinished: Unfinished;
  readonly owner: Owner;
  readonly partId: (index: number) => string;
  readonly signal: AbortSignal;
}

/**
 * `send`: its part is there, new or taken up. `compare`: something of the same size has the name, and its digest will say
 * whether it is the same. `committed`: an earlier run did, and what it put there is still there.
 */
export type Action = "send" | "compare" | "committed";

/** Finds out, and readies the file for it. Throws E_NAME, E_EXISTS, E_BUSY and what sinks throw. */
export async function planFile(file: ReceivedFile, planner: Planner): Promise<Action> {
  const { sink, unfinished, owner, signal } = planner;
  const { name, size } = file.offer;
  const refusal = nameRefusal(name, PLATFORM);
  if (refusal !== undefined) throw new HawserError("E_NAME", `the name '${displayName(name)}' is refused: ${refusal}`);
  await unfinished.claim(owner, file.offer, signal);
  const stored = await unfinished.find(owner, file.offer);
  if (stored !== undefined && (await unfinished.takeUpCommit(file, stored))) return "committed";
  const existing = await sink.find(name);
  if (existing !== undefined) {
    if (existing.size === null || existing.size !== size) throw alreadyThere(name, existing);
    file.existing = existing;
    file.id = stored?.id;
    file.partId = stored?.partId;
    return "compare";
  }
  if (stored === undefined || !(await unfinished.takeUpPart(file, stored, signal))) {
    file.part = await newPart(sink, file.offer, planner.partId(file.index));
    file.isPartNew = true;
  }
  return "send";
}

async function newPart(sink: Sink, { name, size, mtime, mode }: OfferedFile, id: string): Promise<Part> {
  const part = await sink.reserve({ id, name, size, mtime, mode });
  const { randomAccess, blockBytes } = sink.capabilities;
  return randomAccess ? part : new BlockPart(part, blockBytes, size);
}

/** E_EXISTS for a name that something else has. */
export function alreadyThere(name: Uint8Array, { size }: ExistingFile): HawserError {
  const what = size === null ? "something that is not a file" : "a file with other content";
  return new HawserError("E_EXISTS", `${what} is already there under the name '${displayName(name)}'`);
}
