/** Two ends of a connection joined without sockets, and one end brought to a state of one's choice. */
import { decodeBundle } from "../../src/protocol/bundle.ts";
import {
  type ArrivedChunk,
  type ChunkBuffers,
  Conversation,
  type NamedMessage,
} from "../../src/protocol/conversation.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import type { MessageName } from "../../src/protocol/header.ts";
import type { Message } from "../../src/protocol/messages.ts";
import type { Role, Side, State } from "../../src/protocol/states.ts";
import type { ExpectedEvent } from "./vectors.ts";
import { hexOf } from "./vectors.ts";

/** The end under test, and where it stands. A server in the state 'start' has no role yet. */
export interface Receiver {
  readonly side: Side;
  readonly role?: Role;
  readonly state: State;
}

/** Chunk size in all of these conversations: small, so that one too large is cheap to make. */
export const CHUNK_BYTES = 65536;
export const SESSION = Uint8Array.from({ length: 16 }, (_, i) => i);

export const other = (role: Role): Role => (role === "source" ? "sink" : "source");

/** Counts what is asked for. */
export class CountingBuffers implements ChunkBuffers {
  readonly taken: Uint8Array[] = [];
  take(bytes: number): Uint8Array {
    const block = new Uint8Array(bytes);
    this.taken.push(block);
    return block;
  }
  get bytes(): number {
    return this.taken.reduce((sum, block) => sum + block.length, 0);
  }
}

const filesIn = (payload: Uint8Array) =>
  decodeBundle(payload).map(({ file, crc32: crc, start, bytes }) => {
    return { file, crc32: crc, content: hexOf(payload.subarray(start, start + bytes)) };
  });

/** One end that writes down what comes. It does at once what a real end does at once: a server learns its role. */
export class End {
  readonly buffers = new CountingBuffers();
  readonly conversation: Conversation;
  readonly versions: number[] = [];
  readonly messages: NamedMessage[] = [];
  readonly chunks: ArrivedChunk[] = [];
  /** Messages and chunks in their order, as the vectors write them. */
  events: ExpectedEvent[] = [];
  /** Bytes said and not delivered yet. */
  #out: Uint8Array[] = [];

  constructor(side: Side, role: Role, roleKnown: boolean) {
    this.conversation = new Conversation({
      side,
      ...(roleKnown ? { role } : {}),
      buffers: this.buffers,
      events: {
        onGreeting: (version) => this.versions.push(version),
        onMessage: (message) => {
          if (message.name === "HELLO" || message.name === "ATTACH") this.#learn(role);
          this.messages.push(message);
          this.events.push({ message: message.name, body: message.body });
        },
        onChunk: (chunk) => {
          this.chunks.push(chunk);
          const { file, offset, payload, intact, encoding, decodedBytes } = chunk;
          const encoded = encoding === "raw" ? {} : { encoding, decodedBytes };
          if (!chunk.isBundle)
            this.events.push({ chunk: { file, offset, payload: hexOf(payload), intact, ...encoded } });
          else
            this.events.push({
              bundle: { file, files: intact === true ? filesIn(payload) : [], intact: intact === true },
            });
        },
      },
    });
    if (roleKnown) this.conversation.chunkBytesMax = CHUNK_BYTES;
  }

  #learn(role: Role): void {
    this.conversation.role = role;
    this.conversation.chunkBytesMax = CHUNK_BYTES;
  }

  say<N extends MessageName>(name: N, body: Message<N>): this {
    this.#out.push(this.conversation.message(name, body));
    return this;
  }

  greet(): this {
    this.#out.push(this.conversation.greeting());
    return this;
  }

  chunk(file: number, offset: number, payload: Uint8Array): this {
    this.#out.push(this.conversation.dataHeader("CHUNK", file, offset, payload.length, crc32(payload)), payload);
    return this;
  }

  /** What was said since the last time, as one run of bytes. */
  said(): Uint8Array {
    const bytes = new Uint8Array(Buffer.concat(this.#out));
    this.#out = [];
    return bytes;
  }
}

export interface Joined {
  readonly client: End;
  readonly server: End;
  readonly source: End;
  readonly sink: End;
}

export function joined(clientRole: Role): Joined {
  const client = new End("client", clientRole, true);
  const server = new End("server", other(clientRole), false);
  return clientRole === "source"
    ? { client, server, source: client, sink: server }
    : { client, server, source: server, sink: client };
}

/** Brings what each end has said to the other, in pieces of `size`, until both are silent. */
export function exchange({ client, server }: Joined, size = Number.POSITIVE_INFINITY): void {
  for (;;) {
    const up = client.said();
    const down = server.said();
    if (up.length + down.length === 0) return;
    for (let at = 0; at < up.length; at += size) server.conversation.push(up.subarray(at, at + size));
    for (let at = 0; at < down.length; at += size) client.conversation.push(down.subarray(at, at + size));
  }
}

export const HELLO: Message<"HELLO"> = {
  agent: "hawser/0.1.0",
  role: "source",
  purpose: "transfer",
  streams: 4,
  chunkBytes: CHUNK_BYTES,
};

export const WELCOME: Message<"WELCOME"> = {
  agent: "hawser/0.1.0",
  session: SESSION,
  generation: 1,
  transfer: "7f3a9c",
  chunkBytes: CHUNK_BYTES,
  windowBytes: 16 * CHUNK_BYTES,
  splitBytes: CHUNK_BYTES,
  streams: 4,
  openFiles: 256,
  durability: "commit",
};

export const attachOf = (stream: number): Message<"ATTACH"> => ({
  session: SESSION,
  generation: 1,
  stream,
  attempt: 1,
});

const RECEIPT: Message<"RECEIPT"> = { files: 0, failed: 0, bytes: 0, durationMs: 1, cpuMicros: 1 };

/** Each state with the one that it is reached from, and what has to be said for it. */
const STEPS: Record<State, [State, (joined: Joined, clientRole: Role) => void] | undefined> = {
  start: undefined,
  welcoming: ["start", ({ client }, role) => client.say("HELLO", { ...HELLO, role })],
  open: ["welcoming", ({ server }) => server.say("WELCOME", WELCOME)],
  finishing: ["open", ({ source }) => source.say("FINISH", { files: 0 })],
  done: ["finishing", ({ sink }) => sink.say("RECEIPT", RECEIPT)],
  attaching: ["start", ({ client }) => client.say("ATTACH", attachOf(0))],
  data: ["attaching", ({ server }) => server.say("ATTACHED", { stream: 0 })],
  failed: ["open", ({ client }) => client.say("ERROR", { code: 602, message: "stopped" })],
};

export function walk(pair: Joined, clientRole: Role, state: State): void {
  const step = STEPS[state];
  if (step === undefined) {
    pair.client.greet();
    pair.server.greet();
  } else {
    walk(pair, clientRole, step[0]);
    step[1](pair, clientRole);
  }
  exchange(pair);
}

/** An end in a state that it came to by talking; what it wrote down on the way is forgotten. */
export function endIn({ side, role = side === "client" ? "source" : "sink", state }: Receiver): End {
  const clientRole = side === "client" ? role : other(role);
  const pair = joined(clientRole);
  walk(pair, clientRole, state);
  const end = pair[side];
  end.events = [];
  end.messages.length = 0;
  end.chunks.length = 0;
  end.buffers.taken.length = 0;
  return end;
}
