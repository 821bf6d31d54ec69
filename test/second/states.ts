/** PROTOCOL.md, States: who may send what, and what comes of it. */
import type { Name } from "./frames.ts";

type Sender = "client" | "server" | "source" | "sink" | "either";
type Row = readonly [Sender, next: string];

const both = (state: string): Partial<Record<Name, Row>> => ({
  PING: ["either", state],
  PONG: ["either", state],
  ERROR: ["either", state === "done" ? "done" : "failed"],
});
const fromSource = (state: string): Partial<Record<Name, Row>> => ({
  DIGEST: ["source", state],
  SEAL: ["source", state],
  WITHDRAW: ["source", state],
});
const fromSink = (state: string): Partial<Record<Name, Row>> => ({
  HAVE: ["sink", state],
  PLAN: ["sink", state],
  RESEND: ["sink", state],
  OUTCOME: ["sink", state],
});
const data = (state: string): Partial<Record<Name, Row>> => ({ CHUNK: ["source", state], BUNDLE: ["source", state] });

const TABLE: Readonly<Record<string, Partial<Record<Name, Row>>>> = {
  start: { HELLO: ["client", "welcoming"], ATTACH: ["client", "attaching"], ERROR: ["either", "failed"] },
  welcoming: { WELCOME: ["server", "open"], ERROR: ["either", "failed"] },
  open: {
    ...both("open"),
    ...fromSource("open"),
    ...fromSink("open"),
    OFFER: ["source", "open"],
    FINISH: ["source", "finishing"],
  },
  finishing: { ...both("finishing"), ...fromSource("finishing"), ...fromSink("finishing"), RECEIPT: ["sink", "done"] },
  done: { ...both("done"), ...fromSource("done") },
  attaching: { ...data("attaching"), ATTACHED: ["server", "data"], ERROR: ["either", "failed"] },
  data: { ...both("data"), ...data("data"), ACK: ["sink", "data"], RESEND: ["sink", "data"] },
  failed: {},
};

export interface End {
  readonly side: "client" | "server";
  /** Missing while nobody has said it. */
  readonly role?: "source" | "sink" | undefined;
}

/** The state after `name` from `sender`; null where it is E_WRONG_STATE. */
export function after(state: string, name: Name, sender: End): string | null {
  const [allowed, next] = TABLE[state]?.[name] ?? [];
  if (allowed === undefined || next === undefined) return null;
  return allowed === "either" || allowed === sender.side || allowed === sender.role ? next : null;
}

export const opening = (state: string): boolean => ["start", "welcoming", "attaching"].includes(state);
