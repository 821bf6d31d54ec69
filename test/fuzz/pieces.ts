/** How bytes come to an end of a connection: at once or in pieces, and in one of the two ways that a socket has. */
import type { Conversation } from "../../src/protocol/conversation.ts";
import type { Random } from "./random.ts";

export function deliver(bytes: Uint8Array, conversation: Conversation, random: Random): void {
  const { length } = bytes;
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
