/** Ways to cut bytes up, and to bring them to a decoder: the results must never depend on either. */

/** What a socket writes to; both the decoder and the conversation are such. */
export interface Intake {
  target(): Uint8Array;
  advance(count: number): void;
  push(bytes: Uint8Array): void;
}

export type Delivery = (intake: Intake, slice: Uint8Array) => void;

export const byPush: Delivery = (intake, slice) => intake.push(slice);

/** As a socket reads into the decoder's own buffer: never more than fits, though the rest is there already. */
export const byTarget: Delivery = (intake, slice) => {
  for (let at = 0; at < slice.length; ) {
    const target = intake.target();
    if (target.length === 0) throw new Error("a target without room would stop the socket for ever");
    const count = Math.min(target.length, slice.length - at);
    target.set(slice.subarray(at, at + count));
    at += count;
    intake.advance(count);
  }
};

export const DELIVERIES = { push: byPush, "target and advance": byTarget };

export interface Cut {
  readonly how: string;
  readonly slices: readonly Uint8Array[];
}

/** Cut after each of `sizes` in turn, round and round. */
export function sliced(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const slices: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? bytes.length);
    slices.push(bytes.subarray(at, at + size));
    at += size;
  }
  return slices;
}

/** Frames end, and their headers, near an end of what is cut. */
const ENDS_BYTES = 256;
/** Between the ends of something long the same is repeated: a prime, so that each place in a repetition has its turn. */
const MIDDLE_STEP = 101;
const isMiddle = (at: number, { length }: Uint8Array) => at >= ENDS_BYTES && at < length - ENDS_BYTES - MIDDLE_STEP;

/** Whole, byte by byte, at every split into two (in the middle of long ones at some), and with bytes to spare behind it. */
export function* everyCut(bytes: Uint8Array, spare: Uint8Array): Generator<Cut> {
  yield { how: "whole", slices: [bytes] };
  yield { how: "byte by byte", slices: sliced(bytes, [1]) };
  for (let at = 1; at < bytes.length; at += isMiddle(at, bytes) ? MIDDLE_STEP : 1) {
    yield { how: `split at ${at}`, slices: [bytes.subarray(0, at), bytes.subarray(at)] };
  }
  const more = new Uint8Array(bytes.length + spare.length);
  more.set(bytes);
  more.set(spare, bytes.length);
  yield { how: "with bytes to spare", slices: [more] };
  yield { how: "with bytes to spare, byte by byte", slices: sliced(more, [1]) };
}
