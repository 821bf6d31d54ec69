/** An end of a connection in each of its states, how it comes there, and who may say what in it. */
import type { FrameName } from "../../src/protocol/header.ts";
import { encodeMessage } from "../../src/protocol/messages.ts";
import { type Role, type Side, type State, TRANSITIONS } from "../../src/protocol/states.ts";
import { attachOf, HELLO, other, WELCOME } from "../helpers/conversation.ts";

/** Who sends what in a state, by the table. */
const SENDERS = new Map<string, FrameName[]>();
for (const { from, frame, by } of TRANSITIONS) {
  for (const who of by === "either" ? ["client", "server", "source", "sink"] : [by]) {
    const key = `${from} ${who}`;
    SENDERS.set(key, [...(SENDERS.get(key) ?? []), frame]);
  }
}
/** What an end may say. */
export const sentBy = (state: State, side: Side, role: Role): readonly FrameName[] =>
  SENDING[`${state} ${side} ${role}`] ?? NONE;
const NONE: readonly FrameName[] = [];
const SIDES: readonly Side[] = ["client", "server"];
export const ROLES: readonly Role[] = ["source", "sink"];
const STATES: readonly State[] = ["start", "welcoming", "open", "finishing", "done", "attaching", "data", "failed"];
const SENDING: Record<string, readonly FrameName[]> = {};
for (const state of STATES) {
  for (const side of SIDES) {
    for (const role of ROLES) {
      const names = [...(SENDERS.get(`${state} ${side}`) ?? []), ...(SENDERS.get(`${state} ${role}`) ?? [])];
      SENDING[`${state} ${side} ${role}`] = [...new Set(names)];
    }
  }
}

/** What brings an end to a state: said by the client, the server, the source or the sink. */
export type Step = readonly [by: Side | Role, name: FrameName, payload: Uint8Array];
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

export interface Stage {
  readonly side: Side;
  readonly role: Role;
  readonly state: State;
  readonly steps: readonly Step[];
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
      const stage = { side, role, state, steps: pathTo(state, side === "client" ? role : other(role)) };
      return Array.from({ length: WEIGHTS[state] }, () => stage);
    }),
  ),
);
