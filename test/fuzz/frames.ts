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
import { GREETING_BYTES } from "../../src/protocol/limits.ts";
import { CHUNK_BYTES, other } from "../helpers/conversation.ts";
import { type Corpus, makeCorpus, type Sample } from "./corpus.ts";
import { FrameMaker } from "./frame-maker.ts";
import { Draft, mutate } from "./mutations.ts";
import { checkChunk, checkMessage } from "./oracle.ts";
import { deliver } from "./pieces.ts";
import { Random } from "./random.ts";
import { SecondOpinion } from "./second-opinion.ts";
import { ROLES, STAGES, type Stage } from "./stages.ts";

/** Frames that one conversation gets at most. */
const FRAMES_MAX = 160;
/** Room for what is to be delivered at once. */
const PENDING_BYTES = 512 * 1024;
/** A second opinion takes as long as a few cases. */
const COMPARED_ONE_IN = 16;
/** Conversations that have only begun are short, and have messages that come nowhere else. */
const OPENINGS_COMPARED_ONE_IN = 3;

export class FramesFuzzer {
  readonly #seed: number;
  readonly #corpus: Corpus;
  readonly #names: readonly FrameName[];
  readonly #random = new Random(0);
  readonly #maker: FrameMaker;
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
    this.#maker = new FrameMaker(this.#corpus);
    this.#names = [...this.#corpus.byName.keys()];
    this.#conversation = new Conversation({ side: "client", role: "source", ...this.#listening });
  }

  /** One case: a conversation. Throws what must not be thrown. */
  run(number: number): void {
    const random = this.#random;
    random.reset(this.#seed, number);
    const stage = random.pick(STAGES);
    this.#second = random.oneIn(stage.turns.length < 2 ? OPENINGS_COMPARED_ONE_IN : COMPARED_ONE_IN)
      ? new SecondOpinion(stage)
      : undefined;
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
      this.#isChanged[this.#said++] = this.#maker.make(name, wrongOneIn, random) ? 1 : 0;
      this.#pending.append(this.#maker.draft);
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

  #deliver(random: Random): void {
    const bytes = this.#pending.content;
    this.#pending.length = 0;
    this.#second?.heard(bytes);
    deliver(bytes, this.#conversation, random);
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
