/**
 * Who may send what, and when: one table for both roles. Each end runs it on what it sends and on what it receives.
 * The diagram in PROTOCOL.md is made from this table.
 */
import { HawserError, LocalProtocolError } from "./errors.ts";
import type { FrameName } from "./header.ts";

/** Who dials and who listens; who reads the files and who writes them. One end has one of each. */
export type Side = "client" | "server";
export type Role = "source" | "sink";

export type State =
  | "start" // greetings apart, nothing was said
  | "welcoming" // a client asked for a session
  | "open" // control: files are offered, planned, settled
  | "finishing" // control: the source has offered all that it will
  | "done" // control: the transfer has its receipt
  | "attaching" // a client asked to join a stream to a session
  | "data" // stream: chunks one way, acknowledgements the other
  | "failed"; // an ERROR was sent or received

interface Transition {
  readonly from: State;
  readonly frame: FrameName;
  readonly by: Side | Role | "either";
  readonly to: State;
}

const either = (from: State, to: State, ...frames: FrameName[]): Transition[] =>
  frames.map((frame) => ({ from, frame, by: "either", to }));
const by = (who: Side | Role, from: State, to: State, ...frames: FrameName[]): Transition[] =>
  frames.map((frame) => ({ from, frame, by: who, to }));

export const TRANSITIONS: readonly Transition[] = [
  ...by("client", "start", "welcoming", "HELLO"),
  ...by("server", "welcoming", "open", "WELCOME"),
  ...by("source", "open", "open", "OFFER", "DIGEST", "SEAL", "WITHDRAW"),
  ...by("sink", "open", "open", "HAVE", "PLAN", "RESEND", "OUTCOME"),
  ...by("source", "open", "finishing", "FINISH"),
  // What was on its way when the source finished: files are offered no more, but not all are settled.
  ...by("source", "finishing", "finishing", "DIGEST", "SEAL", "WITHDRAW"),
  ...by("sink", "finishing", "finishing", "HAVE", "PLAN", "RESEND", "OUTCOME"),
  ...by("sink", "finishing", "done", "RECEIPT"),
  ...either("open", "open", "PING", "PONG"),
  ...either("finishing", "finishing", "PING", "PONG"),
  ...either("done", "done", "PING", "PONG", "ERROR"),
  // They crossed the receipt: the sink settled a file without them.
  ...by("source", "done", "done", "DIGEST", "SEAL", "WITHDRAW"),

  ...by("client", "start", "attaching", "ATTACH"),
  // A client that is the source need not wait: chunks may follow at once, and are lost if the stream is refused.
  ...by("source", "attaching", "attaching", "CHUNK", "BUNDLE"),
  ...by("server", "attaching", "data", "ATTACHED"),
  ...by("source", "data", "data", "CHUNK", "BUNDLE"),
  ...by("sink", "data", "data", "ACK", "RESEND"),
  ...either("data", "data", "PING", "PONG"),

  ...either("start", "failed", "ERROR"),
  ...either("welcoming", "failed", "ERROR"),
  ...either("open", "failed", "ERROR"),
  ...either("finishing", "failed", "ERROR"),
  ...either("attaching", "failed", "ERROR"),
  ...either("data", "failed", "ERROR"),
];

const table = new Map<string, Transition>(TRANSITIONS.map((t) => [`${t.from} ${t.frame}`, t]));

/** One end's view of one connection. An illegal event throws and leaves the state as it was. */
export class ConnectionState {
  readonly side: Side;
  /** Ours; a server learns it from HELLO or from the session that a stream joins. */
  role: Role | undefined;
  #state: State = "start";

  constructor(side: Side, role?: Role) {
    this.side = side;
    this.role = role;
  }

  get current(): State {
    return this.#state;
  }

  /** We are about to send `frame`. Throws LocalProtocolError where that is illegal: a bug of ours. */
  sending(frame: FrameName): void {
    const transition = this.#find(frame, true);
    if (!transition) throw new LocalProtocolError(`${frame} can't be sent in the state '${this.#state}'`);
    this.#state = transition.to;
  }

  /** Whether the peer may send `frame` now; asked at its header, before anything is kept for its payload. */
  mayReceive(frame: FrameName): boolean {
    return this.#find(frame, false) !== undefined;
  }

  /** `frame` arrived. Throws E_WRONG_STATE where that is illegal. */
  received(frame: FrameName): void {
    const transition = this.#find(frame, false);
    if (!transition) throw this.wrongState(frame);
    this.#state = transition.to;
  }

  wrongState(frame: FrameName): HawserError {
    return new HawserError("E_WRONG_STATE", `a ${frame} frame in the state '${this.#state}'`);
  }

  #find(frame: FrameName, ours: boolean): Transition | undefined {
    const transition = table.get(`${this.#state} ${frame}`);
    if (!transition) return undefined;
    if (transition.by === "either") return transition;
    const isOurs = transition.by === this.side || transition.by === this.role;
    return isOurs === ours ? transition : undefined;
  }
}
