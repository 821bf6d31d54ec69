import t from "tap";
import { HawserError, LocalProtocolError } from "../../src/protocol/errors.ts";
import { FRAME_TYPES, type FrameName } from "../../src/protocol/header.ts";
import { ConnectionState, type Role, type Side, type State, TRANSITIONS } from "../../src/protocol/states.ts";

/** What is legal, said once more by hand: from, who, the frame, to. All else is illegal. */
const LEGAL = `
  start      client HELLO     welcoming
  start      client ATTACH    attaching
  start      either ERROR     failed
  welcoming  server WELCOME   open
  welcoming  either ERROR     failed
  open       source OFFER     open
  open       source DIGEST    open
  open       source SEAL      open
  open       source WITHDRAW  open
  open       source FINISH    finishing
  open       sink   HAVE      open
  open       sink   PLAN      open
  open       sink   RESEND    open
  open       sink   OUTCOME   open
  open       either PING      open
  open       either PONG      open
  open       either ERROR     failed
  finishing  source DIGEST    finishing
  finishing  source SEAL      finishing
  finishing  source WITHDRAW  finishing
  finishing  sink   HAVE      finishing
  finishing  sink   PLAN      finishing
  finishing  sink   RESEND    finishing
  finishing  sink   OUTCOME   finishing
  finishing  sink   RECEIPT   done
  finishing  either PING      finishing
  finishing  either PONG      finishing
  finishing  either ERROR     failed
  done       source DIGEST    done
  done       source SEAL      done
  done       source WITHDRAW  done
  done       either PING      done
  done       either PONG      done
  done       either ERROR     done
  attaching  source CHUNK     attaching
  attaching  source BUNDLE    attaching
  attaching  server ATTACHED  data
  attaching  either ERROR     failed
  data       source CHUNK     data
  data       source BUNDLE    data
  data       sink   ACK       data
  data       sink   RESEND    data
  data       either PING      data
  data       either PONG      data
  data       either ERROR     failed
`
  .trim()
  .split("\n")
  .map((line) => line.trim().split(/\s+/) as [State, Side | Role | "either", FrameName, State]);

const STATES: State[] = ["start", "welcoming", "open", "finishing", "done", "attaching", "data", "failed"];
const FRAMES = Object.keys(FRAME_TYPES) as FrameName[];
const SIDES: Side[] = ["client", "server"];
const ROLES: Role[] = ["source", "sink"];

/** The frames that lead to each state, and by whom. */
const ROUTES: Record<State, [FrameName, Side | Role][]> = {
  start: [],
  welcoming: [["HELLO", "client"]],
  open: [
    ["HELLO", "client"],
    ["WELCOME", "server"],
  ],
  finishing: [
    ["HELLO", "client"],
    ["WELCOME", "server"],
    ["FINISH", "source"],
  ],
  done: [
    ["HELLO", "client"],
    ["WELCOME", "server"],
    ["FINISH", "source"],
    ["RECEIPT", "sink"],
  ],
  attaching: [["ATTACH", "client"]],
  data: [
    ["ATTACH", "client"],
    ["ATTACHED", "server"],
  ],
  failed: [["ERROR", "client"]],
};

function stateAt(side: Side, role: Role, state: State): ConnectionState {
  const connection = new ConnectionState(side, role);
  for (const [frame, by] of ROUTES[state]) {
    if (by === side || by === role) connection.sending(frame);
    else connection.received(frame);
  }
  return connection;
}

t.test("the table has each pair of state and frame once", async (t) => {
  const pairs = TRANSITIONS.map(({ from, frame }) => `${from} ${frame}`);
  t.equal(new Set(pairs).size, pairs.length);
});

for (const state of STATES) {
  t.test(`in the state '${state}'`, async (t) => {
    for (const side of SIDES) {
      for (const role of ROLES) {
        for (const frame of FRAMES) {
          const rule = LEGAL.find(([from, , name]) => from === state && name === frame);
          const to = rule?.[3];
          const by = rule?.[1];
          const ours = by !== undefined && (by === "either" || by === side || by === role);
          const theirs = by !== undefined && (by === "either" || !ours);
          const what = `${side}, ${role}, ${frame}`;

          const sender = stateAt(side, role, state);
          if (ours) sender.sending(frame);
          else t.throws(() => sender.sending(frame), LocalProtocolError, `${what} is not ours to send`);
          t.equal(sender.current, ours ? to : state, `${what} sent`);

          const receiver = stateAt(side, role, state);
          t.equal(receiver.mayReceive(frame), theirs, `${what} may come`);
          t.equal(receiver.current, state, "asking changes nothing");
          if (theirs) receiver.received(frame);
          else t.throws(() => receiver.received(frame), { code: "E_WRONG_STATE" }, `${what} must not come`);
          t.equal(receiver.current, theirs ? to : state, `${what} received`);
        }
      }
    }
  });
}

t.test("what one end may send, the other may receive, and both come to the same state", async (t) => {
  for (const state of STATES) {
    for (const side of SIDES) {
      for (const role of ROLES) {
        for (const frame of FRAMES) {
          const us = stateAt(side, role, state);
          const them = stateAt(side === "client" ? "server" : "client", role === "source" ? "sink" : "source", state);
          let sent = true;
          try {
            us.sending(frame);
          } catch {
            sent = false;
          }
          t.equal(them.mayReceive(frame), sent, `${frame} by ${side}, ${role}, in ${state}`);
          if (sent) them.received(frame);
          t.equal(us.current, them.current);
        }
      }
    }
  }
});

t.test("a server that knows no role yet", async (t) => {
  const server = new ConnectionState("server");
  t.ok(server.mayReceive("HELLO"));
  t.ok(server.mayReceive("ATTACH"));
  for (const frame of FRAMES.filter((f) => f !== "HELLO" && f !== "ATTACH" && f !== "ERROR")) {
    t.notOk(server.mayReceive(frame), frame);
  }
  server.received("ATTACH");
  t.throws(() => server.sending("CHUNK"), LocalProtocolError, "sends nothing that takes a role");
});

t.test("errors say the frame and the state", async (t) => {
  const error = stateAt("server", "sink", "open").wrongState("HELLO");
  t.ok(error instanceof HawserError);
  t.match(error, { code: "E_WRONG_STATE", message: "a HELLO frame in the state 'open'" });
});
