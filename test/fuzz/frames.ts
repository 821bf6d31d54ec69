/**
 * Frames in process: an end of a connection in one of its states gets frames that are right, and frames that were changed,
 * in pieces of any size. Of each case nothing may come but events that hold what they promise, and at most one HawserError.
 */
import { crc32 } from "node:zlib";
import {
  type ArrivedChunk,
  Conversation,
  type ConversationOptions,
  type NamedMessage,
} from "../../src/protocol/conversation.ts";
import { SLACK_BYTES } from "../../src/protocol/decoder.ts";
import { HawserError, LocalProtocolError } from "../../src/protocol/errors.ts";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { type FrameName, isData } from "../../src/protocol/header.ts";
import { GREETING_BYTES, HEADER_BYTES } from "../../src/protocol/limits.ts";
import { CHUNK_BYTES, other } from "../helpers/conversation.ts";
import { type Corpus, makeCorpus, type Sample } from "./corpus.ts";
import { Draft, mutate, mutateHeader, settleLengths, sumHeader } from "./mutations.ts";
import { checkNames } from "./odd-names.ts";
import { checkChunk, checkMessage, checkOffer } from "./oracle.ts";
import { Random } from "./random.ts";
import { SecondOpinion } from "./second-opinion.ts";
import { ROLES, STAGES, type Stage } from "./stages.ts";
import { reshape, type Shape, varyData, varyMessage } from "./variation.ts";

/** Frames that one conversation gets at most. */
const FRAMES_MAX = 160;
/** Room for what is to be delivered at once, and for one frame. */
const PENDING_BYTES = 512 * 1024;
const FRAME_BYTES = 96 * 1024;
/** What is larger is not varied: it would be summed for a byte that is another. */
const VARIED_BYTES_MAX = 4096;
/** A second opinion takes as long as a few cases. */
const COMPARED_ONE_IN = 16;

export class FramesFuzzer {
  readonly #seed: number;
  readonly #corpus: Corpus;
  readonly #names: readonly FrameName[];
  readonly #random = new Random(0);
  readonly #draft = new Draft(FRAME_BYTES);
  readonly #pending = new Draft(PENDING_BYTES);
  /** The same for all chunks: each is looked at before the next comes. */
  readonly #block = Buffer.allocUnsafeSlow(CHUNK_BYTES + SLACK_BYTES);
  readonly #listening: Pick<ConversationOptions, "buffers" | "events"> = {
    buffers: { take: (bytes) => this.#take(bytes) },
    events: { onMessage: (message) => this.#onMessage(message), onChunk: (chunk) => this.#onChunk(chunk) },
  };
  #conversation: Conversation;
  /** Of the frames of this conversation, which are not as they were made; and how many came so far, those on the way included. */
  readonly #isChanged = new Uint8Array(FRAMES_MAX);
  #judged = 0;
  #said = 0;
  #second: SecondOpinion | undefined;
  /** Frames that were judged: taken, or refused. Not those that lead to a state. */
  frames = 0;
  /** Of these, those that differ from all that a program without faults was heard to say. */
  changed = 0;
  taken = 0;
  readonly refused = new Map<string, number>();

  constructor(seed: number) {
    this.#seed = seed;
    this.#corpus = makeCorpus(seed);
    this.#names = [...this.#corpus.byName.keys()];
    this.#conversation = new Conversation({ side: "client", role: "source", ...this.#listening });
  }

  /** One case: a conversation. Throws what must not be thrown. */
  run(number: number): void {
    const random = this.#random;
    random.reset(this.#seed, number);
    const stage = random.pick(STAGES);
    this.#second = random.oneIn(COMPARED_ONE_IN) ? new SecondOpinion(stage) : undefined;
    let error: HawserError | undefined;
    try {
      this.#begin(stage, random);
      this.#talk(stage, random);
    } catch (thrown) {
      if (!(thrown instanceof HawserError)) throw thrown;
      error = thrown;
      this.#countJudged();
      this.refused.set(thrown.code, (this.refused.get(thrown.code) ?? 0) + 1);
      this.#checkIsOver(random);
    }
    this.#second?.compare(error);
  }

  /** An end in its state: it said and heard what leads there. */
  #begin({ side, role, turns, heard }: Stage, random: Random): void {
    const isNew = turns.length === 0;
    const conversation = new Conversation(
      side === "client" || !isNew ? { side, role, ...this.#listening } : { side, ...this.#listening },
    );
    this.#conversation = conversation;
    this.#judged = -heard;
    this.#said = 0;
    conversation.chunkBytesMax = CHUNK_BYTES;
    this.#pending.set(GREETING);
    if (isNew) {
      if (random.oneIn(2)) this.#spoilGreeting(random);
      return;
    }
    conversation.push(GREETING);
    this.#second?.heard(GREETING);
    this.#pending.length = 0;
    for (const turn of turns) {
      if ("hears" in turn) {
        this.#second?.heard(turn.hears);
        conversation.push(turn.hears);
      } else {
        conversation.encodedMessage(turn.says, turn.payload);
        this.#second?.said(turn.says);
      }
    }
    if (this.#judged !== 0) throw new Error(`${this.#judged} frames too few came on the way to a state`);
  }

  /** In one case of six under a right CRC. */
  #spoilGreeting(random: Random): void {
    const draft = this.#pending;
    const times = random.below(3);
    for (let i = 0; i < times; i++) mutate(draft, 0, random, this.#corpus.payloads);
    if (draft.length < GREETING_BYTES || !random.oneIn(2)) return;
    const { bytes } = draft;
    GREETING.copy(bytes, 0, 0, 8);
    bytes.writeUInt16BE(random.below(3), 8);
    bytes.writeUInt16BE(random.below(4), 10);
    bytes.writeUInt32BE(crc32(bytes.subarray(0, 16)), 16);
  }

  #talk(stage: Stage, random: Random): void {
    const conversation = this.#conversation;
    const count = random.few(FRAMES_MAX);
    // Most say something wrong now and then; some say hardly anything right.
    const wrongOneIn = random.oneIn(8) ? 1 : 2 + random.below(14);
    for (let i = 0; i < count; i++) {
      let legal = stage.peers[conversation.state];
      // Where the peer has nothing to say but that it ends, it is this end's turn.
      if (random.oneIn(16) || (legal.length < 2 && !random.oneIn(4))) {
        this.#sayOwn(stage, random);
        legal = stage.peers[conversation.state];
      }
      let name = legal.length > 0 && !random.oneIn(64) ? random.pick(legal) : random.pick(this.#names);
      if (name === "ERROR" && !random.oneIn(8)) name = random.pick(legal.length > 0 ? legal : this.#names);
      this.#isChanged[this.#said++] = this.#make(name, wrongOneIn, random) ? 1 : 0;
      this.#pending.append(this.#draft);
      if (this.#pending.length > PENDING_BYTES / 2 || !random.oneIn(4)) this.#deliver(random);
    }
    this.#deliver(random);
  }

  /** This end says something, so that its state moves as well. */
  #sayOwn({ own }: Stage, random: Random): void {
    const conversation = this.#conversation;
    const names = own[conversation.state];
    if (names.length === 0) return;
    const name = random.pick(names);
    if (isData(name) || (name === "ERROR" && !random.oneIn(16))) return;
    const { payload } = random.pick(this.#corpus.byName.get(name) as readonly Sample[]);
    this.#deliver(random);
    try {
      conversation.encodedMessage(name, payload);
      this.#second?.said(name);
    } catch (thrown) {
      // What was delivered before has changed the state.
      if (!(thrown instanceof LocalProtocolError)) throw thrown;
    }
  }

  /** A frame, in the draft. Returns whether it is another than the corpus has. */
  #make(name: FrameName, wrongOneIn: number, random: Random): boolean {
    const { frame, shape } = random.pick(this.#corpus.byName.get(name) as readonly Sample[]);
    this.#draft.set(frame);
    if (name === "OFFER" && random.oneIn(4)) checkNames(random);
    if (random.oneIn(wrongOneIn)) this.#spoil(name, shape, random);
    else if (frame.length > VARIED_BYTES_MAX || random.oneIn(8)) return false;
    else if (isData(name)) varyData(this.#draft, name === "BUNDLE", random);
    else varyMessage(this.#draft, shape.slots, random);
    return true;
  }

  #spoil(name: FrameName, shape: Shape, random: Random): void {
    const draft = this.#draft;
    const kind = random.below(10);
    if (kind < 6) {
      const isReshaped = random.oneIn(3);
      if (isReshaped) reshape(draft, shape, random);
      const times = isReshaped && random.oneIn(2) ? 0 : random.few(4);
      for (let i = 0; i < times; i++) mutate(draft, HEADER_BYTES, random, this.#corpus.payloads);
      settleLengths(draft);
      if (name === "OFFER") checkOffer(draft.content.subarray(HEADER_BYTES));
    } else if (kind < 9) {
      const times = random.few(3);
      for (let i = 0; i < times; i++) mutateHeader(draft, random);
    } else mutate(draft, 0, random, this.#corpus.payloads);
    // Nothing that is illegal is seen behind a wrong CRC.
    if (!random.oneIn(12) && draft.length >= HEADER_BYTES) sumHeader(draft);
  }

  /** In pieces or not, and in one of the two ways that a socket has. */
  #deliver(random: Random): void {
    const conversation = this.#conversation;
    const { length } = this.#pending;
    const bytes = this.#pending.content;
    this.#pending.length = 0;
    this.#second?.heard(bytes);
    if (random.oneIn(2)) {
      conversation.push(bytes);
      return;
    }
    // Long ones are cut into few pieces: that many small ones come out the same is tested elsewhere.
    const least = length >>> 5;
    const most = 1 + random.below(random.oneIn(16) ? 3 : 1 + least * 16);
    const isDirect = random.oneIn(2);
    for (let at = 0; at < length; ) {
      let count = Math.min(length - at, least + 1 + random.below(most));
      if (isDirect) {
        const target = conversation.target();
        if (target.length === 0) throw new Error("a target without room would stop the socket for ever");
        count = Math.min(count, target.length);
        target.set(bytes.subarray(at, at + count));
        conversation.advance(count);
      } else conversation.push(bytes.subarray(at, at + count));
      at += count;
    }
  }

  /** After its error an end makes nothing of whatever comes, either way. */
  #checkIsOver(random: Random): void {
    if (!random.oneIn(8)) return;
    const { frames } = this;
    const { frame } = random.pick(this.#corpus.byName.get("PING") as readonly Sample[]) as Sample;
    if (random.oneIn(2)) this.#conversation.push(frame);
    else {
      const target = this.#conversation.target();
      const count = Math.min(target.length, frame.length);
      target.set(frame.subarray(0, count));
      this.#conversation.advance(count);
    }
    if (this.frames !== frames) throw new Error("a frame was taken after an error");
  }

  #take(bytes: number): Uint8Array {
    if (bytes > this.#block.length) throw new Error(`${bytes} bytes were asked for a chunk`);
    return this.#block;
  }

  /** Returns whether it is one of those that lead to a state. */
  #countJudged(): boolean {
    if (this.#judged++ < 0) return true;
    this.frames++;
    // What was cut or has grown may have become two: then one is taken for its neighbour.
    this.changed += this.#isChanged[Math.min(this.#judged, this.#said) - 1] ?? 0;
    return false;
  }

  #onMessage(message: NamedMessage): void {
    const { name } = message;
    const random = this.#random;
    if (this.#countJudged()) {
      this.#second?.tookMessage(message, undefined);
      return;
    }
    this.taken++;
    // A server learns at once what a real one does: whose turn it is to say what.
    const role = name === "HELLO" ? other(message.body.role) : name === "ATTACH" ? random.pick(ROLES) : undefined;
    if (role !== undefined) this.#conversation.role = role;
    this.#second?.tookMessage(message, role);
    if (random.oneIn(16)) checkMessage(message);
  }

  #onChunk(chunk: ArrivedChunk): void {
    this.#countJudged();
    this.taken++;
    this.#second?.tookChunk(chunk);
    checkChunk(chunk, CHUNK_BYTES);
  }
}

const GREETING = Buffer.from(encodeGreeting());
