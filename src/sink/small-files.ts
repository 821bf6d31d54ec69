/**
 * What comes whole: small files, in bundles; directories and links, with their offer. Many at once: looked at together,
 * and committed together, while the next ones come in. The one owner of these until they are settled.
 */
import { type BundledContent, decodeBundle } from "../protocol/bundle.ts";
import { crc32 } from "../protocol/crc32.ts";
import { asHawserError, type Failure, HawserError, wireFailureOf } from "../protocol/errors.ts";
import type { OfferedFile, PlannedFile, SettledFile } from "../protocol/messages.ts";
import { displayName } from "../protocol/names.ts";
import { clobberFor, judgeExisting, notDirectory, oneName, type Verdict } from "./clobber.ts";
import { Limiter } from "./limiter.ts";
import type { SettledRecord } from "./outcome-queue.ts";
import { assertDepth, assertName, copiesBeside, type Planner, plannedCommit } from "./plan.ts";
import { changesOf } from "./settlement.ts";
import type { Batch, Clobber, Committed, ExistingFile, Part, PartSpec, StagedOutcome, TreeSink } from "./sink.ts";

export interface SmallFilesOwner {
  onSettled(record: SettledRecord): void;
  wasOffered(file: number): boolean;
  comesInChunks(file: number): boolean;
}

interface OpenFile {
  readonly offer: OfferedFile;
  readonly clobber: Clobber | undefined;
  /** `committing`: its content is here, and nothing that comes changes what becomes of it. */
  phase: "wanted" | "committing";
}

interface Waiting {
  readonly offer: OfferedFile;
  readonly crc32: number;
}

/**
 * What is committed together, at most, where it comes faster than it is committed: so that few directories come in two
 * batches, since the files of the second are given their names one by one; and little enough that the source hears soon.
 */
const BATCH_FILES_MAX = 2048;
const BATCH_BYTES_MAX = 64 * 1024 * 1024;

/** Files that are written one by one, at once: each has a descriptor or two while it waits for the disk. */
const WRITES_MAX = 16;

/** Whether it comes whole, or has nothing to come. */
export const isSmall = ({ kind, whole = false }: OfferedFile) => whole || kind !== undefined;

export class SmallFiles {
  readonly #planner: Planner;
  readonly #owner: SmallFilesOwner;
  readonly #open = new Map<number, OpenFile>();
  /** Files that are being planned, from the first on to before the second: nothing was asked for yet. */
  #planning: readonly [first: number, end: number] = [0, 0];
  /** Staged files that wait for the commit under way to end, in the order of their batch. */
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #batch: Batch | undefined;
  #committing: Promise<void> | undefined;
  /** Files that are written one by one, where a sink can't do it otherwise. */
  readonly #writing = new Set<Promise<void>>();
  readonly #writes = new Limiter(WRITES_MAX);
  /** Of these, the parts that are not whole. */
  readonly #unwritten = new Set<Part>();

  constructor(planner: Planner, owner: SmallFilesOwner) {
    this.#planner = planner;
    this.#owner = owner;
  }

  get count(): number {
    return this.#open.size;
  }
  get isCommitting(): boolean {
    return this.#committing !== undefined || this.#writing.size > 0;
  }
  has(index: number): boolean {
    return this.#open.has(index);
  }
  isWanted(index: number): boolean {
    return this.#open.get(index)?.phase === "wanted";
  }

  /** Resolves when nothing is being committed. What is not written yet is given up: that could wait for ever. */
  async idle(): Promise<void> {
    for (const part of this.#unwritten) void part.abort();
    while (this.isCommitting) await Promise.all([this.#committing, ...this.#writing]);
  }

  /** Those that were never sent are of no interest to another run. */
  clear(): void {
    this.#open.clear();
  }

  /**
   * Finds out what to do with what is offered: files that are wanted are in the answer; what has to be compared first is
   * handed back; everything else is settled.
   */
  async plan(
    offers: readonly OfferedFile[],
  ): Promise<{ readonly wanted: PlannedFile[]; readonly compare: OfferedFile[] }> {
    const wanted: PlannedFile[] = [];
    const compare: OfferedFile[] = [];
    this.#planning = [offers[0]?.file ?? 0, (offers.at(-1)?.file ?? -1) + 1];
    // A name that is refused is not even looked at.
    const named = offers.filter((offer) => this.#isNamed(offer));
    const found = await this.#findAll(named.filter(({ kind }) => kind === undefined));
    let next = 0;
    for (const offer of named) {
      const existing = offer.kind === undefined ? found[next++] : undefined;
      try {
        if (offer.kind !== undefined) await this.#make(offer);
        else if (existing === undefined && !this.#planner.wishes.dryRun) this.#want(offer, undefined, wanted);
        else if (existing instanceof HawserError) throw existing;
        else await this.#planFound(offer, existing, wanted, compare);
      } catch (thrown) {
        this.#fail(offer, asHawserError(thrown).toFailure());
      }
    }
    this.#planning = [0, 0];
    return { wanted, compare };
  }

  /** A bundle came. Resolves when its bytes are of no more use; at once where the sink can do that. Throws E_ILLEGAL and its kind. */
  take(payload: Uint8Array): Promise<void> | undefined {
    const { tree } = this.#planner.sink;
    const oneByOne: Promise<void>[] = [];
    const contents = decodeBundle(payload);
    // All of it is looked at before anything is written: what is written is committed.
    for (const content of contents) this.#assertWanted(content, payload);
    for (const { file, start, bytes, crc32: crc } of contents) {
      const open = this.#open.get(file);
      // Settled meanwhile, or come before: the source hears of it.
      if (open?.phase !== "wanted") continue;
      open.phase = "committing";
      const content = payload.subarray(start, start + bytes);
      if (tree?.stages) this.#stage(tree, open, content, crc);
      else oneByOne.push(this.#writeAlone(open, content, crc));
    }
    if (this.#batch !== undefined) this.#committing ??= this.#commit();
    return oneByOne.length === 0 ? undefined : Promise.all(oneByOne).then(() => {});
  }

  /** Throws where a file was not asked for, or is not what was offered. */
  #assertWanted(content: BundledContent, payload: Uint8Array): void {
    const open = this.#open.get(content.file);
    if (open === undefined) this.#assertAskedFor(content.file);
    else if (open.phase === "wanted") assertAsOffered(open.offer, content, payload);
  }

  #assertAskedFor(file: number): void {
    const [first, end] = this.#planning;
    if (!this.#owner.wasOffered(file)) {
      throw new HawserError("E_FOREIGN_CHUNK", `a bundle with file ${file}, which was not offered`);
    }
    if ((file >= first && file < end) || this.#owner.comesInChunks(file)) {
      throw new HawserError("E_WRONG_STATE", `a bundle with file ${file}, which was not asked for`);
    }
  }

  /** The source can't send a file after all. */
  withdraw(index: number, failure: Failure): void {
    const open = this.#open.get(index);
    if (open?.phase === "wanted") this.#fail(open.offer, failure);
  }

  #isNamed(offer: OfferedFile): boolean {
    try {
      assertName(offer.name);
      assertDepth(offer.name, this.#planner.limits);
      return true;
    } catch (thrown) {
      this.#fail(offer, asHawserError(thrown).toFailure());
      return false;
    }
  }

  async #findAll(offers: readonly OfferedFile[]): Promise<(ExistingFile | HawserError | undefined)[]> {
    const { sink } = this.#planner;
    const names = offers.map(({ name }) => name);
    return sink.tree?.findAll(names) ?? Promise.all(names.map((name) => sink.find(name).catch(asHawserError)));
  }

  async #planFound(
    offer: OfferedFile,
    existing: ExistingFile | undefined,
    wanted: PlannedFile[],
    compare: OfferedFile[],
  ): Promise<void> {
    const { overwrite = "never", dryRun } = this.#planner.wishes;
    const verdict: Verdict = existing === undefined ? SEND : judgeExisting(offer, existing, overwrite);
    if (verdict.action === "unchanged") this.#unchanged(offer);
    else if (verdict.action === "compare" || (await this.#hasCopies(offer, verdict.clobber))) compare.push(offer);
    else if (dryRun) await this.#planned(offer, verdict.clobber);
    else this.#want(offer, verdict.clobber, wanted);
  }

  /** Whether an earlier run may have put it beside what has its name. */
  async #hasCopies(offer: OfferedFile, clobber: Clobber | undefined): Promise<boolean> {
    return clobber === "rename" && (await copiesBeside(offer, this.#planner.sink)).length > 0;
  }

  #want(offer: OfferedFile, clobber: Clobber | undefined, wanted: PlannedFile[]): void {
    this.#open.set(offer.file, { offer, clobber, phase: "wanted" });
    const last = wanted[wanted.length - 1];
    if (last !== undefined && last.file + (last.count ?? 1) === offer.file) last.count = (last.count ?? 1) + 1;
    else wanted.push({ file: offer.file, action: "send" });
  }

  /** A directory or a link: there is nothing to wait for. */
  async #make(offer: OfferedFile): Promise<void> {
    const { kind, name, mtime, mode, target } = offer;
    const { tree } = this.#planner.sink;
    const { overwrite = "never", exactMode, dryRun } = this.#planner.wishes;
    if (kind === "symlink" && tree === undefined) {
      throw new HawserError("E_NAME", `'${displayName(name)}' is a link, and the destination has none`);
    }
    if (target?.includes(0)) {
      throw new HawserError("E_NAME", `the link '${displayName(name)}' says what no link can: it holds the byte 00`);
    }
    if (dryRun) return this.#planEntry(offer);
    if (kind === "directory" || tree === undefined) {
      await tree?.makeDirectory({ name, mtime, mode, exactMode });
      this.#settle(offer, { file: offer.file, status: "committed", size: 0 });
      return;
    }
    const clobber = overwrite === "never" ? "never" : overwrite === "rename" ? "rename" : "replace";
    const made = await tree.makeLink({ name, mtime, mode, target, clobber });
    if (made === "unchanged") this.#unchanged(offer);
    else this.#committed(offer, made, undefined);
  }

  async #planEntry(offer: OfferedFile): Promise<void> {
    const [existing] = this.#planner.sink.tree?.findAll([offer.name]) ?? [];
    if (existing instanceof HawserError) throw existing;
    const { overwrite = "never" } = this.#planner.wishes;
    if (existing === undefined) await this.#planned(offer, undefined);
    else if (isSameEntry(offer, existing)) this.#unchanged(offer);
    else if (offer.kind === "directory") {
      throw existing.ownName === undefined ? notDirectory(offer.name) : oneName(offer.name, existing.ownName);
    } else await this.#planned(offer, clobberFor(offer.name, existing, overwrite));
  }

  #stage(tree: TreeSink, open: OpenFile, bytes: Uint8Array, crc: number): void {
    const { offer } = open;
    try {
      this.#batch ??= tree.batch();
      this.#batch.stage(this.#specOf(open), bytes);
      this.#waiting.push({ offer, crc32: crc });
      this.#waitingBytes += bytes.length;
    } catch (thrown) {
      this.#fail(offer, asHawserError(thrown).toFailure());
    }
  }

  #specOf({ offer, clobber }: OpenFile): PartSpec {
    const { name, size, mtime, mode, file } = offer;
    const { partId, wishes } = this.#planner;
    return { id: partId(file), name, size, mtime, mode, clobber, exactMode: wishes.exactMode };
  }

  /** Waits for more to be staged, as long as each turn of the event loop brings some. */
  async #gather(): Promise<void> {
    for (let before = -1; before < this.#waiting.length; ) {
      before = this.#waiting.length;
      if (before >= BATCH_FILES_MAX || this.#waitingBytes >= BATCH_BYTES_MAX) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** What is staged while a commit is under way goes with the next: the slower the disk, the more at once. */
  async #commit(): Promise<void> {
    while (this.#batch !== undefined) {
      await this.#gather();
      const [batch, files] = [this.#batch, this.#waiting];
      this.#batch = undefined;
      this.#waiting = [];
      this.#waitingBytes = 0;
      const outcomes = await batch.commit();
      for (const [i, { offer, crc32: crc }] of files.entries()) this.#onCommitted(offer, outcomes[i], crc);
    }
    this.#committing = undefined;
  }

  #onCommitted(offer: OfferedFile, outcome: StagedOutcome | undefined, crc: number): void {
    if (outcome === "unchanged") this.#unchanged(offer);
    else if (outcome instanceof HawserError || outcome === undefined) {
      const error = outcome ?? new HawserError("E_IO", `committing '${displayName(offer.name)}' failed`);
      this.#fail(offer, error.toFailure());
    } else this.#committed(offer, outcome, crc);
  }

  async #writeAlone(open: OpenFile, bytes: Uint8Array, crc: number): Promise<void> {
    const writing = this.#writes
      .run(() => this.#write(open, bytes, crc))
      .then(
        (committed) => this.#committed(open.offer, committed, crc),
        (thrown) => {
          if (!this.#planner.signal.aborted) this.#fail(open.offer, asHawserError(thrown).toFailure());
        },
      );
    this.#writing.add(writing);
    await writing.finally(() => this.#writing.delete(writing));
  }

  async #write(open: OpenFile, bytes: Uint8Array, crc: number): Promise<Committed> {
    const { sink, signal } = this.#planner;
    signal.throwIfAborted();
    const part = await sink.reserve(this.#specOf(open));
    try {
      signal.throwIfAborted();
      this.#unwritten.add(part);
      part.open();
      if (bytes.length > 0) await part.write(0, bytes);
      this.#unwritten.delete(part);
      return await part.commit(bytes.length, crc);
    } finally {
      this.#unwritten.delete(part);
      await part.abort();
    }
  }

  // --- settling ---------------------------------------------------------------------------------------------------

  #committed(offer: OfferedFile, committed: Committed, crc: number | undefined): void {
    const outcome: SettledFile = { file: offer.file, status: "committed", size: offer.size ?? 0 };
    if (crc !== undefined) outcome.crc32 = crc;
    if (committed.name !== undefined || committed.replaced) Object.assign(outcome, changesOf(committed));
    this.#settle(offer, outcome);
  }

  #unchanged(offer: OfferedFile): void {
    this.#settle(offer, { file: offer.file, status: "unchanged", size: offer.size ?? 0 });
  }

  async #planned(offer: OfferedFile, clobber: Clobber | undefined): Promise<void> {
    const change = changesOf(await plannedCommit(this.#planner.sink, offer.name, clobber));
    this.#settle(offer, { file: offer.file, status: "planned", size: offer.size ?? 0, ...change });
  }

  #fail(offer: OfferedFile, failure: Failure): void {
    this.#settle(offer, { file: offer.file, status: "failed", error: wireFailureOf(failure) }, failure);
  }

  #settle({ file, name, kind }: OfferedFile, outcome: SettledFile, failure?: Failure): void {
    this.#open.delete(file);
    this.#owner.onSettled({ outcome, name, failure, storedId: undefined, kind: kind ?? "whole" });
  }
}

/** Whether a directory is there, or a link that says the same. */
function isSameEntry({ kind, target }: OfferedFile, existing: ExistingFile): boolean {
  if (existing.ownName !== undefined) return false;
  if (kind === "directory") return existing.isDirectory;
  return existing.target !== undefined && Buffer.compare(existing.target, target ?? new Uint8Array(0)) === 0;
}

/** Where nothing is in the way. */
const SEND: Verdict = { action: "send", clobber: undefined };

function assertAsOffered({ size, file }: OfferedFile, content: BundledContent, payload: Uint8Array): void {
  const { bytes, start, crc32: declared } = content;
  if (bytes !== size)
    throw new HawserError("E_ILLEGAL", `file ${file} comes with ${bytes} bytes, and ${size} were offered`);
  if (crc32(payload.subarray(start, start + bytes)) !== declared)
    throw new HawserError("E_ILLEGAL", `file ${file} has another CRC-32 than its bundle says`);
}
