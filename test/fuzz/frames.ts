/**
 * Frames in process: an end of a connection in one of its states gets frames that are right, and frames that were changed,
 * in pieces of any size. Of each case nothing may come but events that hold what they promise, and at most one HawserError.
 */
import { crc32 } from "node:zlib";
import { type ArrivedChunk, Conversation, type NamedMessage } from "../../src/protocol/conversation.ts";
import { SLACK_BYTES } from "../../src/protocol/decoder.ts";
import { HawserError, LocalProtocolError } from "../../src/protocol/errors.ts";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { type FrameName, isData } from "../../src/protocol/header.ts";
import { GREETING_BYTES, HEADER_BYTES } from "../../src/protocol/limits.ts";
import type { Role, Side } from "../../src/protocol/states.ts";
import { CHUNK_BYTES, other } from "../helpers/conversation.ts";
import { type Corpus, makeCorpus, type Sample } from "./corpus.ts";
import { Draft, mutate, mutateHeader, settleLengths, sumHeader } from "./mutations.ts";
import { checkChunk, checkMessage, checkOffer } from "./oracle.ts";
import { Random } from "./random.ts";
import { ROLES, STAGES, type Stage, sentBy } from "./stages.ts";

/** Frames that one conversation gets at most. */
const FRAMES_MAX = 64;
/** Room for what is to be delivered at once, and for one frame. */
const PENDING_BYTES = 512 * 1024;
const FRAME_BYTES = 96 * 1024;

export class FramesFuzzer {
  readonly #seed: number;
  readonly #corpus: Corpus;
  readonly #names: readonly FrameName[];
  readonly #random = new Random(0);
  readonly #draft = new Draft(FRAME_BYTES);
  readonly #pending = new Draft(PENDING_BYTES);
  /** The same for all chunks: each is looked at before the next comes. */
  readonly #block = Buffer.allocUnsafeSlow(CHUNK_BYTES + SLACK_BYTES);
  #conversation: Conversation | undefined;
  /** Frames that were judged: taken, or refused. */
  frames = 0;
  taken = 0;
  readonly refused = new Map<string, number>();

  constructor(seed: number) {
    this.#seed = seed;
    this.#corpus = makeCorpus(seed);
    this.#names = [...this.#corpus.byName.keys()];
  }

  /** One case: a conversation. Throws what must not be thrown. */
  run(number: number): void {
    const random = this.#random;
    random.reset(this.#seed, number);
    const stage = random.pick(STAGES);
    try {
      this.#begin(stage, random);
      this.#talk(stage, random);
    } catch (thrown) {
      if (!(thrown instanceof HawserError)) throw thrown;
      this.frames++;
      this.refused.set(thrown.code, (this.refused.get(thrown.code) ?? 0) + 1);
      this.#checkIsOver(random);
    }
  }

  /** An end in its state: it said and heard what leads there. */
  #begin({ side, role, steps }: Stage, random: Random): void {
    const conversation = new Conversation({
      side,
      ...(side === "client" || steps.length > 0 ? { role } : {}),
      buffers: { take: (bytes) => this.#take(bytes) },
      events: {
        onMessage: (message) => this.#onMessage(message, random),
        onChunk: (chunk) => this.#onChunk(chunk),
      },
    });
    this.#conversation = conversation;
    conversation.chunkBytesMax = CHUNK_BYTES;
    conversation.greeting();
    this.#pending.length = 0;
    this.#pending.insert(0, GREETING);
    if (steps.length === 0 && random.oneIn(2)) {
      // Its greeting is changed, in one case of six under a right CRC.
      const times = random.below(3);
      for (let i = 0; i < times; i++) mutate(this.#pending, 0, random, this.#corpus.payloads);
      const { bytes } = this.#pending;
      if (this.#pending.length >= GREETING_BYTES && random.oneIn(2)) {
        GREETING.copy(bytes, 0, 0, 8);
        bytes.writeUInt16BE(random.below(3), 8);
        bytes.writeUInt16BE(random.below(4), 10);
        bytes.writeUInt32BE(crc32(bytes.subarray(0, 16)), 16);
      }
    }
    for (const [by, name, payload] of steps) {
      if (by === side || by === role) {
        this.#deliver(random, false);
        conversation.encodedMessage(name as "HELLO", payload);
      } else this.#append(name, payload);
    }
    this.#deliver(random, false);
  }

  #append(name: FrameName, payload: Uint8Array): void {
    const sample = this.#corpus.byName.get(name)?.[0] as Sample;
    const draft = this.#draft;
    draft.set(sample.frame.subarray(0, HEADER_BYTES));
    draft.insert(HEADER_BYTES, payload);
    settleLengths(draft);
    sumHeader(draft);
    this.#pending.insert(this.#pending.length, draft.content);
  }

  #talk({ side, role }: Stage, random: Random): void {
    const conversation = this.#conversation as Conversation;
    const peer = side === "client" ? "server" : "client";
    const peerRole = other(role);
    const count = random.few(FRAMES_MAX);
    // Most say something wrong now and then; some say hardly anything right.
    const wrongOneIn = random.oneIn(8) ? 1 : 2 + random.below(14);
    for (let i = 0; i < count; i++) {
      let legal = sentBy(conversation.state, peer, peerRole);
      // Where the peer has nothing to say but that it ends, it is this end's turn.
      if (random.oneIn(16) || (legal.length < 2 && !random.oneIn(4))) {
        this.#sayOwn(conversation, side, role, random);
        legal = sentBy(conversation.state, peer, peerRole);
      }
      let name = legal.length > 0 && !random.oneIn(64) ? random.pick(legal) : random.pick(this.#names);
      if (name === "ERROR" && !random.oneIn(8)) name = random.pick(legal.length > 0 ? legal : this.#names);
      this.#draft.set(random.pick(this.#corpus.byName.get(name) as readonly Sample[]).frame);
      if (random.oneIn(wrongOneIn)) this.#spoil(name, random);
      this.#pending.insert(this.#pending.length, this.#draft.content);
      if (this.#pending.length > PENDING_BYTES / 2 || !random.oneIn(4)) this.#deliver(random, true);
    }
    this.#deliver(random, true);
  }

  /** This end says something, so that its state moves as well. */
  #sayOwn(conversation: Conversation, side: Side, role: Role, random: Random): void {
    const names = sentBy(conversation.state, side, role);
    if (names.length === 0) return;
    const name = random.pick(names);
    if (isData(name) || (name === "ERROR" && !random.oneIn(16))) return;
    const { payload } = random.pick(this.#corpus.byName.get(name) as readonly Sample[]);
    this.#deliver(random, true);
    try {
      conversation.encodedMessage(name, payload);
    } catch (thrown) {
      // What was delivered before has changed the state.
      if (!(thrown instanceof LocalProtocolError)) throw thrown;
    }
  }

  #spoil(name: FrameName, random: Random): void {
    const draft = this.#draft;
    const kind = random.below(10);
    if (kind < 6) {
      const times = random.few(4);
      for (let i = 0; i < times; i++) mutate(draft, HEADER_BYTES, random, this.#corpus.payloads);
      settleLengths(draft);
      if (name === "OFFER" && random.oneIn(4)) checkOffer(draft.content.subarray(HEADER_BYTES));
    } else if (kind < 9) {
      const times = random.few(3);
      for (let i = 0; i < times; i++) mutateHeader(draft, random);
    } else mutate(draft, 0, random, this.#corpus.payloads);
    // Nothing that is illegal is seen behind a wrong CRC.
    if (!random.oneIn(12) && draft.length >= HEADER_BYTES) sumHeader(draft);
  }

  /** In pieces, and in one of the two ways that a socket has. */
  #deliver(random: Random, isCut: boolean): void {
    const conversation = this.#conversation as Conversation;
    const bytes = this.#pending.content;
    this.#pending.length = 0;
    if (!isCut || random.oneIn(3)) {
      conversation.push(bytes);
      return;
    }
    const most = 1 + random.below(random.oneIn(8) ? 3 : 4 * HEADER_BYTES);
    const direct = random.oneIn(2);
    // Long ones are cut into few pieces: that many small ones come out the same is tested elsewhere.
    const least = bytes.length >>> 6;
    for (let at = 0; at < bytes.length; ) {
      let count = Math.min(bytes.length - at, least + 1 + random.below(most));
      if (direct) {
        const target = conversation.target();
        if (target.length === 0) throw new Error("a target without room would stop the socket for ever");
        count = Math.min(count, target.length);
        target.set(bytes.subarray(at, at + count));
        conversation.advance(count);
      } else conversation.push(bytes.subarray(at, at + count));
      at += count;
    }
  }

  /** After its error an end makes nothing of whatever comes. */
  #checkIsOver(random: Random): void {
    if (!random.oneIn(8)) return;
    const { frames } = this;
    this.#conversation?.push(random.pick(this.#corpus.byName.get("PING") as readonly Sample[]).frame);
    if (this.frames !== frames) throw new Error("a frame was taken after an error");
  }

  #take(bytes: number): Uint8Array {
    if (bytes > this.#block.length) throw new Error(`${bytes} bytes were asked for a chunk`);
    return this.#block;
  }

  #onMessage(message: NamedMessage, random: Random): void {
    this.frames++;
    this.taken++;
    const { name } = message;
    // A server learns at once what a real one does: whose turn it is to say what.
    if (name === "HELLO") (this.#conversation as Conversation).role = other(message.body.role);
    else if (name === "ATTACH") (this.#conversation as Conversation).role = random.pick(ROLES);
    if (random.oneIn(16)) checkMessage(message);
  }

  #onChunk(chunk: ArrivedChunk): void {
    this.frames++;
    this.taken++;
    checkChunk(chunk, CHUNK_BYTES);
  }
}

const GREETING = Buffer.from(encodeGreeting());
