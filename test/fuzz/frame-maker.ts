/** Makes one frame after another out of those that programs without faults send: most with other values, some wrong. */
import { type FrameName, isData } from "../../src/protocol/header.ts";
import { HEADER_BYTES } from "../../src/protocol/limits.ts";
import type { Corpus, Sample } from "./corpus.ts";
import { Draft, mutate, mutateHeader, settleLengths, sumHeader } from "./mutations.ts";
import { checkNames } from "./odd-names.ts";
import { checkOffer } from "./oracle.ts";
import type { Random } from "./random.ts";
import { reshape } from "./reshaping.ts";
import type { Shape } from "./shapes.ts";
import { varyData, varyMessage } from "./variation.ts";

/** Room for one frame. */
const FRAME_BYTES = 96 * 1024;
/** What is larger is not varied: it would be summed for a byte that is another. */
const VARIED_BYTES_MAX = 4096;

export class FrameMaker {
  readonly #corpus: Corpus;
  /** The frame that was made last. */
  readonly draft = new Draft(FRAME_BYTES);

  constructor(corpus: Corpus) {
    this.#corpus = corpus;
  }

  /** A frame, in the draft. Returns whether it is another than the corpus has. */
  make(name: FrameName, wrongOneIn: number, random: Random): boolean {
    const { frame, shape } = random.pick(this.#corpus.byName.get(name) as readonly Sample[]);
    this.draft.set(frame);
    if (name === "OFFER" && random.oneIn(4)) checkNames(random);
    if (random.oneIn(wrongOneIn)) this.#spoil(name, shape, random);
    else if (frame.length > VARIED_BYTES_MAX || random.oneIn(8)) return false;
    else if (isData(name)) varyData(this.draft, name === "BUNDLE", random);
    else varyMessage(this.draft, shape.slots, random);
    return true;
  }

  #spoil(name: FrameName, shape: Shape, random: Random): void {
    const draft = this.draft;
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
}
