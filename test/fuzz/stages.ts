/** An end of a connection in each of its states, how it comes there, and who may say what in it. */
import type { FrameName, MessageName } from "../../src/protocol/header.ts";
import { encodeMessage } from "../../src/protocol/messages.ts";
import { type Role, type Side, type State, TRANSITIONS } from "../../src/protocol/states.ts";
import { attachOf, HELLO, other, WELCOME } from "../helpers/conversation.ts";
import { controlFrame } from "./wire.ts";

/** Who sends what in a state, by the table. */
const SENDERS = new Map<string, FrameName[]>();
for (const { from, frame, by } of TRANSITIONS) {
  for (const who of by === "either" ? ["client", "server", "source", "sink"] : [by]) {
    const key = `${from} ${who}`;
    SENDERS.set(key, [...(SENDERS.get(key) ?? []), frame]);
  }
}
const SIDES: readonly Side[] = ["client", "server"];
export const ROLES: readonly Role[] = ["source", "sink"];
const STATES: readonly State[] = ["start", "welcoming", "open", "finishing", "done", "attaching", "data", "failed"];

/** What an end may say, by its state. */
export type Vocabulary = Readonly<Record<State, readonly FrameName[]>>;
function vocabularyOf(side: Side, role: Role): Vocabulary {
  const namesIn = (state: State) => [
    ...new Set([...(SENDERS.get(`${state} ${side}`) ?? []), ...(SENDERS.get(`${state} ${role}`) ?? [])]),
  ];
  return Object.fromEntries(STATES.map((state) => [state, namesIn(state)])) as Record<State, FrameName[]>;
}

/** What brings an end to a state: said by the client, the server, the source or the sink. */
type Step = readonly [by: Side | Role, name: MessageName, payload: Uint8Array];
const pathTo = (state: State, clientRole: Role): readonly Step[] => {
  const hello: Step = ["client", "HELLO", encoded("HELLO", { ...HELLO, role: clientRole })];
  const open: Step[] = [hello, ["server", "WELCOME", encoded("WELCOME", WELCOME)]];
  const finishing: Step[] = [...open, ["source", "FINISH", encoded("FINISH", { files: 0 })]];
  const attaching: Step = ["client", "ATTACH", encoded("ATTACH", attachOf(0))];
  const steps: Record<State, readonly Step[]> = {
    start: [],
    welcoming: [hello],
    open,
    finishing,
    done: [...finishing, ["sink", "RECEIPT", encoded("RECEIPT", RECEIPT)]],
    attaching: [attaching],
    data: [attaching, ["server", "ATTACHED", encoded("ATTACHED", { stream: 0 })]],
    failed: [...open, ["client", "ERROR", encoded("ERROR", { code: 602, message: "stopped" })]],
  };
  return steps[state];
};
const RECEIPT = { files: 0, failed: 0, bytes: 0, durationMs: 1, cpuMicros: 1 };
function encoded<N extends Parameters<typeof encodeMessage>[0]>(name: N, body: Parameters<typeof encodeMessage<N>>[1]) {
  return Buffer.from(encodeMessage(name, body));
}

/** A step of an end's way: it hears these bytes, or says this. */
export type Turn = { readonly hears: Buffer } | { readonly says: MessageName; readonly payload: Uint8Array };

export interface Stage {
  readonly side: Side;
  readonly role: Role;
  /** The way to its state, and how many frames are heard on it. */
  readonly turns: readonly Turn[];
  readonly heard: number;
  /** What this end may say, and what the other. */
  readonly own: Vocabulary;
  readonly peers: Vocabulary;
}

function stageOf(side: Side, role: Role, state: State): Stage {
  const steps = pathTo(state, side === "client" ? role : other(role));
  const turns = steps.map(([by, name, payload]): Turn => {
    return by === side || by === role ? { says: name, payload } : { hears: controlFrame(name, payload) };
  });
  return {
    side,
    role,
    turns,
    heard: turns.filter((turn) => "hears" in turn).length,
    own: vocabularyOf(side, role),
    peers: vocabularyOf(side === "client" ? "server" : "client", other(role)),
  };
}

/** States where more can come have more turns. */
const WEIGHTS: Record<State, number> = {
  start: 2,
  welcoming: 1,
  open: 8,
  finishing: 3,
  done: 1,
  attaching: 2,
  data: 8,
  failed: 1,
};
export const STAGES: readonly Stage[] = SIDES.flatMap((side) =>
  ROLES.flatMap((role) =>
    STATES.flatMap((state) => {
      const stage = stageOf(side, role, state);
      return Array.from({ length: WEIGHTS[state] }, () => stage);
    }),
  ),
);
