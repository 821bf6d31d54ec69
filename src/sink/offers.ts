/**
 * What the source offers, page after page: each file is planned, written down, and answered. The one owner of which file
 * has which index.
 */
import type { Connection } from "../net/connection.ts";
import type { Terms } from "../net/transfer-end.ts";
import { bundleTableBytes } from "../protocol/bundle.ts";
import { asHawserError, type Failure, HawserError } from "../protocol/errors.ts";
import { type FileExtent, type Message, type OfferedFile, type PlannedFile, pages } from "../protocol/messages.ts";
import { type Planner, planDiffering, planFile } from "./plan.ts";
import { ReceivedFile } from "./received-file.ts";
import type { ExistingFile } from "./sink.ts";
import { isSmall, type SmallFiles } from "./small-files.ts";
import { WaitingOffer } from "./waiting-offer.ts";

export interface OffersOwner {
  /** The files that are open, by their index. */
  readonly files: Map<number, ReceivedFile>;
  /** A file can't be received. */
  giveUp(index: number, failure: Failure): void;
  /** Nothing of it is to be sent: an earlier run has committed it, as `file.committed` says, or there is no need. */
  onSettled(file: ReceivedFile, action: "committed" | "unchanged" | "planned"): void;
  /** It has chunks of an earlier run, which nobody has compared with their records. */
  check(file: ReceivedFile): void;
  /** It has been planned, and what has its name is to be copied from first; again where that is so already. */
  copy(file: ReceivedFile): void;
  /** What comes whole. */
  readonly small: SmallFiles;
  /** Tells the outcome of a settled file again. Returns false where that isn't known any more. */
  tellAgain(index: number): boolean;
  /** The peer broke the protocol, or this end has a bug. */
  fail(error: HawserError): void;
}

/** Times the files that may be open: what may wait to be planned. */
const QUEUED_OFFERS = 4;

/** What an extent takes on the wire, at most. */
const EXTENT_BYTES = 24;
/** And a plan. */
const PLAN_BYTES = 40;

export class Offers {
  readonly #terms: Terms;
  readonly #sessionId: string;
  readonly #planner: Planner;
  readonly #owner: OffersOwner;
  #control: Connection | undefined;
  /** Pages are handled one after the other: planning waits for the disk. */
  #turns: Promise<void> = Promise.resolve();
  #below = 0;
  /** Files in pages that wait for their turn. */
  #queued = 0;
  #planning = 0;
  /** Open files that were to come whole and are compared first: they count as what they were offered as. */
  readonly #compared = new Set<number>();
  /** It waited for room when its control connection broke: all that has no outcome is offered again, and so is it. */
  #unplanned: ReceivedFile | undefined;
  readonly #waiting = new WaitingOffer();
  /** Open files that this control connection has offered; what an earlier one said may still wait for its turn. */
  #offered = new Set<number>();

  constructor(terms: Terms, planner: Planner, owner: OffersOwner) {
    this.#terms = terms;
    this.#sessionId = planner.owner.sessionId;
    this.#planner = planner;
    this.#owner = owner;
  }

  /** All indexes below this were offered. */
  get below(): number {
    return this.#below;
  }
  get isPlanning(): boolean {
    return this.#planning > 0;
  }

  controlOpened(control: Connection): void {
    this.#control = control;
    this.#offered = new Set();
    this.#waiting.wake();
  }

  queue(files: readonly OfferedFile[]): void {
    this.#queued += files.length;
    // An honest source has no more than this to say before it is answered, its repetitions included.
    if (this.#queued > QUEUED_OFFERS * (this.#terms.openFiles + this.#openSmall)) {
      this.#fail("too many files at once");
      return;
    }
    const offered = this.#offered;
    this.inOrder(async () => {
      // What an earlier control connection said is offered again on this one, and some of what came before it may be too.
      if (offered === this.#offered) await this.#onOffer(files, offered);
      this.#queued -= files.length;
    });
  }

  /** Does `work` when all that was offered before is answered. */
  inOrder(work: () => Promise<void>): void {
    this.#turns = this.#turns.then(work).catch((thrown) => {
      if (!this.#planner.signal.aborted) this.#owner.fail(asHawserError(thrown));
    });
  }

  /** Resolves when nothing is being planned. */
  idle(): Promise<void> {
    return this.#turns;
  }

  /** A file is settled: it may be offered again by a source that did not hear. */
  settled(index: number): void {
    this.#offered.delete(index);
    this.#compared.delete(index);
    this.#waiting.wake();
  }

  async #onOffer(offers: readonly OfferedFile[], offered: Set<number>): Promise<void> {
    const answers: PlannedFile[] = [];
    const { small } = this.#owner;
    const whole: OfferedFile[] = [];
    for (const offer of offers) {
      if (this.#planner.signal.aborted) return;
      const { file: index } = offer;
      const again = this.#owner.files.get(index);
      if (again !== undefined) {
        if (offered.has(index)) return this.#fail(`file ${index} is offered twice`);
        offered.add(index);
        // Of one that is still to come whole the source has not heard that it was compared.
        if (again.phase === "comparing" || (again.phase === "receiving" && offer.whole)) {
          answers.push({ file: index, action: "compare" });
        }
        if (again.phase === "receiving") answers.push({ file: index, action: "send" });
        continue;
      }
      if (small.has(index)) {
        if (small.isWanted(index)) answers.push({ file: index, action: "send" });
        continue;
      }
      if (index < this.#below) {
        if (!this.#owner.tellAgain(index)) this.#fail("a file that was settled is offered again");
        continue;
      }
      const isTooMany = isSmall(offer)
        ? small.count + whole.length + this.#compared.size >= this.#openSmall
        : this.#owner.files.size - this.#compared.size >= this.#terms.openFiles;
      const { entriesMax = Number.POSITIVE_INFINITY } = this.#planner.limits ?? {};
      if (index >= entriesMax) {
        const message = `the server takes ${entriesMax} files, directories and links in one transfer at most`;
        return this.#owner.fail(new HawserError("E_TOO_MANY", message));
      }
      if (index !== this.#below || isTooMany) {
        return this.#fail("files are offered out of order, or too many at once");
      }
      if (offer.whole && (offer.size ?? Number.POSITIVE_INFINITY) + bundleTableBytes(1) > this.#terms.chunkBytes) {
        return this.#fail(`file ${index} is to come whole, and is larger than a chunk`);
      }
      if (offer.whole && this.#terms.verify === "full") {
        return this.#fail(`file ${index} is to come whole, and every file is to be read back`);
      }
      const refusal = contradictionIn(offer);
      if (refusal !== undefined) return this.#fail(`file ${index} is offered as ${refusal}`);
      this.#below++;
      if (isSmall(offer)) {
        whole.push(offer);
        continue;
      }
      const file = new ReceivedFile(offer, this.#terms.chunkBytes);
      this.#owner.files.set(index, file);
      offered.add(index);
      await this.#plan(file, answers);
      if (this.#unplanned === file) {
        this.#forgetOffer(file);
        // What is behind it comes again, and what is before it is planned as if nothing had happened.
        break;
      }
    }
    await this.#planSmall(whole, offered, answers);
    await this.#answerAll(answers);
  }

  /** A file that was compared and differs is planned once more. */
  async replan(file: ReceivedFile, existing: ExistingFile): Promise<void> {
    const answers: PlannedFile[] = [];
    await this.#plan(file, answers, () => planDiffering(file, existing, this.#planner));
    if (this.#unplanned === file) {
      this.#unplanned = undefined;
      // When it is offered again it is compared again.
      file.candidates = [existing];
    }
    await this.#answerAll(answers);
  }

  /** Chunks were copied: the source reads and compares them, and sends those that differ, while others are copied. */
  copied(file: ReceivedFile, from: number, end: number): void {
    file.copiedBelow = end;
    if (!this.#offered.has(file.index)) return;
    for (const have of file.haveCopied(from, end)) this.#send("HAVE", have);
  }

  /** All was copied: what the source has not heard of has to be sent. */
  copiedAll(file: ReceivedFile): void {
    file.copiedBelow = undefined;
    // On a new control connection the file is offered again, and then answered.
    if (!this.#offered.has(file.index)) return;
    this.#send("PLAN", { files: [{ file: file.index, action: "send" }] });
    if (file.hasUnchecked) this.#owner.check(file);
  }

  async #planSmall(offers: readonly OfferedFile[], offered: Set<number>, answers: PlannedFile[]): Promise<void> {
    if (offers.length === 0) return;
    this.#planning++;
    const { wanted, compare } = await this.#owner.small.plan(offers).finally(() => this.#planning--);
    answers.push(...wanted);
    // What has to be compared is as any other file from now on.
    for (const offer of compare) {
      const file = new ReceivedFile(offer, this.#terms.chunkBytes);
      this.#owner.files.set(offer.file, file);
      this.#compared.add(offer.file);
      offered.add(offer.file);
      await this.#plan(file, answers);
      if (this.#unplanned === file) this.#forgetOffer(file);
      // What lay there may be gone by now, and the source still has to hear that it comes in chunks.
      const last = answers.at(-1);
      if (last?.file === file.index && last.action === "send") {
        answers.splice(-1, 0, { file: file.index, action: "compare" });
      }
    }
  }

  async #answerAll(answers: readonly PlannedFile[]): Promise<void> {
    await this.#remember(answers);
    this.#answer(answers);
  }

  get #openSmall(): number {
    return this.#terms.openSmall ?? this.#terms.openFiles;
  }

  async #plan(file: ReceivedFile, answers: PlannedFile[], plan = () => planFile(file, this.#planner)): Promise<void> {
    this.#planning++;
    try {
      const action = await plan();
      if (isGivenUp(file)) return await this.#letGo(file);
      if (action === "copy") file.copiedBelow = 0;
      if (action !== "send" && action !== "compare" && action !== "copy") {
        this.#owner.onSettled(file, action);
        return;
      }
      file.phase = action === "compare" ? "comparing" : "receiving";
      answers.push({ file: file.index, action: action === "compare" ? action : "send" });
    } catch (thrown) {
      if (this.#planner.signal.aborted || isGivenUp(file)) return;
      const failure = asHawserError(thrown).toFailure();
      if (failure.code === "E_QUOTA" && this.#others(file)) return await this.#planLater(file, answers, plan, failure);
      this.#owner.giveUp(file.index, failure);
    } finally {
      this.#planning--;
    }
  }

  /** Whether other files of this transfer have room, and will give it back. */
  #others(file: ReceivedFile): boolean {
    return [...this.#owner.files.values()].some((other) => other !== file && other.part !== undefined);
  }

  /**
   * What does not fit beside what is under way waits for that, and with it all that was offered after it; what was
   * planned before has to be answered for that. This end is not at anything meanwhile.
   */
  async #planLater(
    file: ReceivedFile,
    answers: PlannedFile[],
    plan: () => ReturnType<typeof planFile>,
    failure: Failure,
  ): Promise<void> {
    const control = this.#control;
    const { signal } = this.#planner;
    await this.#waiting.waitAfter(async () => {
      await this.#answerAll(answers.splice(0));
      this.#planning--;
    }, signal);
    this.#planning++;
    if (signal.aborted || isGivenUp(file)) return;
    if (this.#control === control) await this.#plan(file, answers, plan);
    // All that has no outcome is offered again, behind this, and what is under way has to be answered for it to go on.
    else if (file.phase === "comparing" || file.index === this.#below - 1) this.#unplanned = file;
    else this.#owner.giveUp(file.index, failure);
  }

  /** It was given up while it was being planned: what was readied for it is of no use any more. */
  async #letGo({ part, isPartNew, offer }: ReceivedFile): Promise<void> {
    this.#planner.unfinished.unclaim(this.#planner.owner, offer);
    // What an earlier run left is not this failure's to judge.
    await (isPartNew ? part?.abort() : part?.close());
  }

  /** It is as if it had not been offered: it will be again. */
  #forgetOffer(file: ReceivedFile): void {
    this.#unplanned = undefined;
    this.#owner.files.delete(file.index);
    this.#compared.delete(file.index);
    this.#planner.unfinished.unclaim(this.#planner.owner, file.offer);
    this.#below--;
  }

  /** Writes down what is now expected, before the source hears of it. */
  async #remember(answers: readonly PlannedFile[]): Promise<void> {
    const wanted = answers.filter(({ action }) => action === "send");
    const files = wanted.flatMap(({ file }) => this.#owner.files.get(file) ?? []);
    try {
      await this.#planner.unfinished.remember(this.#sessionId, files, this.#planner.partId);
    } catch (thrown) {
      for (const { index } of files) this.#owner.giveUp(index, asHawserError(thrown).toFailure());
    }
  }

  #answer(answers: readonly PlannedFile[]): void {
    const spoilt: FileExtent[] = [];
    const planned: PlannedFile[] = [];
    for (const answer of answers) {
      const file = this.#owner.files.get(answer.file);
      if (file?.phase === "receiving" && answer.action === "send") {
        for (const have of file.have()) this.#send("HAVE", have);
        if (file.copiedBelow !== undefined) {
          this.#owner.copy(file);
          continue;
        }
        spoilt.push(...file.spoiltExtents);
        if (file.hasUnchecked) this.#owner.check(file);
      }
      planned.push(answer);
    }
    for (const page of pages(planned, () => PLAN_BYTES)) this.#send("PLAN", { files: page });
    for (const page of pages(spoilt, () => EXTENT_BYTES)) this.#send("RESEND", { chunks: page });
  }

  #send<N extends "HAVE" | "PLAN" | "RESEND">(name: N, body: Message<N>): void {
    this.#control?.send(name, body);
  }

  #fail(message: string): void {
    this.#owner.fail(new HawserError("E_ILLEGAL", message));
  }
}

/** By the source, or by the failure of something else. */
const isGivenUp = ({ phase }: ReceivedFile) => phase === "settling";

/** What an offer says of itself that can't be. */
function contradictionIn({ kind, target, size }: OfferedFile): string | undefined {
  if (kind === "symlink" && target === undefined) return "a link that leads nowhere";
  return kind !== undefined && size !== 0 ? `a ${kind} with content` : undefined;
}
