/** What to do with a file that is offered: refuse it, compare it with what is there, have it sent, or what is left of it. */
import { asHawserError, HawserError } from "../protocol/errors.ts";
import type { OfferedFile } from "../protocol/messages.ts";
import { displayName, nameRefusal } from "../protocol/names.ts";
import { BlockPart } from "./block-part.ts";
import { clobberFor, isLikely, judgeExisting, nextName, type Overwrite } from "./clobber.ts";
import { PLATFORM } from "./platform.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { StoredFile } from "./session-store.ts";
import type { Clobber, Committed, ExistingFile, Part, PartSpec, Sink } from "./sink.ts";
import type { Owner, Unfinished } from "./unfinished.ts";

export interface Planner {
  readonly sink: Sink;
  readonly unfinished: Unfinished;
  readonly owner: Owner;
  readonly partId: (index: number) => string;
  readonly signal: AbortSignal;
  readonly wishes: Wishes;
  readonly limits?: TransferLimits | undefined;
}

/** What a transfer may be made of, as whoever runs the sink says; no limit where nothing is said. */
export interface TransferLimits {
  /** Entries that may be offered: files, directories and links. */
  readonly entriesMax?: number | undefined;
  /** Components of a name. */
  readonly depthMax?: number | undefined;
}

/** What the client asks for, for the whole transfer (PROTOCOL.md, HELLO). */
export interface Wishes {
  /** What becomes of what has a name already ("never"). */
  readonly overwrite?: Overwrite;
  /** Permission bits are set as they are. */
  readonly exactMode?: boolean;
  /** It is only to be said what would be done. */
  readonly dryRun?: boolean;
  /** Of what gives way to a file, what is the same need not come. */
  readonly delta?: boolean;
}

/**
 * `send`: its part is there, new or taken up. `compare`: something of the same size has the name, or one like it, and its
 * digest will say whether it is the same. `copy`: its part is there, and gets what the file that gives way has first.
 * `committed`: an earlier run did, and what it put there is still there. `unchanged`: what is there counts as the same.
 * `planned`: it would be sent.
 */
export type Action = "send" | "compare" | "copy" | "committed" | "unchanged" | "planned";

/** E_NAME where this platform can't have a name. */
export function assertName(name: Uint8Array): void {
  const refusal = nameRefusal(name, PLATFORM);
  if (refusal === undefined) return;
  // The reason comes after the name, and messages are cut: of a long name the beginning says enough.
  const shown = displayName(name.subarray(0, SHOWN_BYTES)) + (name.length > SHOWN_BYTES ? "..." : "");
  throw new HawserError("E_NAME", `the name '${shown}' is refused: ${refusal}`);
}

/** Of a name that is refused: six characters stand for a byte at most. */
const SHOWN_BYTES = 120;

/** E_NAME where it has more components than there may be. */
export function assertDepth(name: Uint8Array, { depthMax }: TransferLimits = {}): void {
  if (depthMax === undefined) return;
  const depth = name.reduce((count, byte) => (byte === SLASH ? count + 1 : count), 1);
  if (depth <= depthMax) return;
  const message = `the name '${displayName(name)}' is refused: it has ${depth} components, and the server takes ${depthMax} at most`;
  throw new HawserError("E_NAME", message);
}

const SLASH = 0x2f;

/** Finds out, and readies the file for it. Throws E_NAME, E_EXISTS, E_BUSY and what sinks throw. */
export async function planFile(file: ReceivedFile, planner: Planner): Promise<Action> {
  const { sink, unfinished, owner, signal, wishes } = planner;
  const { name } = file.offer;
  assertName(name);
  assertDepth(name, planner.limits);
  // To say what would be done, nothing is taken up, and nothing thrown away.
  if (!wishes.dryRun) await unfinished.claim(owner, file.offer, signal);
  const stored = wishes.dryRun ? undefined : await unfinished.find(owner, file.offer);
  if (stored !== undefined && (await unfinished.takeUpCommit(file, stored))) return "committed";
  const existing = await sink.find(name);
  file.partId = stored?.partId;
  file.id = stored?.id;
  if (existing !== undefined) {
    const verdict = judgeExisting(file.offer, existing, wishes.overwrite ?? "never");
    if (verdict.action === "unchanged") return "unchanged";
    if (isBase(existing, file.offer, planner)) {
      file.clobber = "replace";
      const action = await readyPart(file, planner, stored);
      if (action === "send") file.base = existing;
      return action === "send" ? "copy" : action;
    }
    const copies = wishes.overwrite === "rename" ? await copiesBeside(file.offer, sink) : [];
    if (verdict.action === "send") file.clobber = verdict.clobber;
    file.candidates = verdict.action === "compare" ? [existing, ...copies] : copies;
    if (file.candidates.length > 0) return "compare";
  }
  return readyPart(file, planner, stored);
}

/**
 * Beside what has the name of a file, those that an earlier run may have made of it: the same need not be there twice.
 * They have its size and time; without the time, all versions of a file that never grows would be read each time. Their
 * content decides, also for `quick` offers: another file of the source may have come under such a name.
 */
export async function copiesBeside(offer: OfferedFile, sink: Sink): Promise<ExistingFile[]> {
  const copies: ExistingFile[] = [];
  try {
    for (let nth = 1; ; nth++) {
      const found = await sink.find(nextName(offer.name, nth));
      if (found === undefined) return copies;
      if (isLikely(offer, found)) copies.push(found);
    }
  } catch {
    // Where there is no room for such a name, or no looking at it, nothing is known to be the same.
    return copies;
  }
}

/** Whether what is there may have chunks of what is offered: one of them at least, and it is to give way. */
function isBase(existing: ExistingFile, { size, whole }: OfferedFile, { sink, owner, wishes }: Planner): boolean {
  const { delta = false, dryRun = false, overwrite } = wishes;
  if (!delta || dryRun || whole || (overwrite !== "if-different" && overwrite !== "always")) return false;
  if (existing.hold === undefined || !sink.capabilities.randomAccess) return false;
  return size !== null && size > 0 && (existing.size ?? 0) >= Math.min(size, owner.chunkBytes);
}

/** Of a file that was compared and differs: what is then to be done with it. Throws E_EXISTS, and as `planFile` does. */
export async function planDiffering(file: ReceivedFile, existing: ExistingFile, planner: Planner): Promise<Action> {
  file.clobber = clobberFor(file.offer.name, existing, planner.wishes.overwrite ?? "never");
  return readyPart(file, planner, await planner.unfinished.find(planner.owner, file.offer));
}

async function readyPart(file: ReceivedFile, planner: Planner, stored: StoredFile | undefined): Promise<Action> {
  const { sink, wishes } = planner;
  if (wishes.dryRun) {
    await assertRoom(file, planner);
    file.outcome = await plannedCommit(sink, file.offer.name, file.clobber);
    return "planned";
  }
  const how = { clobber: file.clobber, exactMode: wishes.exactMode, account: planner.owner.account };
  if (stored === undefined || !(await takeUp(file, stored, planner, how))) {
    file.id = undefined;
    file.partId = undefined;
    file.part = await newPart(sink, { ...specOf(file.offer, planner.partId(file.index)), ...how });
    file.isPartNew = true;
  }
  return "send";
}

/** What a run would be refused for is found out by asking for the room, which makes nothing. Throws what `reserve` does. */
async function assertRoom(
  { offer, index }: ReceivedFile,
  { sink, partId, owner: { account } }: Planner,
): Promise<void> {
  // One that takes a single file takes it for good.
  if (sink.capabilities.inOrder === true) return;
  const part = await sink.reserve({ ...specOf(offer, partId(index)), account });
  await part.abort();
}

/** A part that was copied to may have used the room that it would be promised again: then it goes. */
async function takeUp(
  file: ReceivedFile,
  stored: StoredFile,
  { unfinished, signal, wishes }: Planner,
  how: Pick<PartSpec, "clobber" | "exactMode" | "account">,
): Promise<boolean> {
  try {
    return await unfinished.takeUpPart(file, stored, signal, how);
  } catch (thrown) {
    if (!wishes.delta || asHawserError(thrown).code !== "E_NO_SPACE") throw thrown;
    await unfinished.discard(stored);
    return false;
  }
}

/** What a commit would come to now. */
export async function plannedCommit(sink: Sink, name: Uint8Array, clobber: Clobber | undefined): Promise<Committed> {
  if (clobber === "replace") return { replaced: true };
  if (clobber !== "rename") return {};
  for (let nth = 1; ; nth++) {
    const next = nextName(name, nth);
    if ((await sink.find(next)) === undefined) return { name: next };
  }
}

/** What a part of an offered file is made of. */
export function specOf({ name, size, mtime, mode }: OfferedFile, id: string): PartSpec {
  return { id, name, size, mtime, mode };
}

async function newPart(sink: Sink, spec: PartSpec): Promise<Part> {
  const part = await sink.reserve(spec);
  const { randomAccess, blockBytes } = sink.capabilities;
  return randomAccess ? part : new BlockPart(part, blockBytes, spec.size);
}
