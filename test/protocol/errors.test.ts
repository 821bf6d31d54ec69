import t from "tap";
import {
  asHawserError,
  ERRORS,
  type ErrorCode,
  endsSession,
  errorCodeOf,
  HawserError,
  LocalProtocolError,
  wireFailureOf,
} from "../../src/protocol/errors.ts";

const rows = Object.entries(ERRORS) as [ErrorCode, (typeof ERRORS)[ErrorCode]][];

/** Numbers that peers know: they are never given to another error. A new one is added here; none is changed. */
const ON_THE_WIRE: Readonly<Record<number, string>> = {
  101: "E_VERSION",
  102: "E_UNKNOWN_SESSION",
  103: "E_BUSY",
  104: "E_SHUTTING_DOWN",
  105: "E_TIMEOUT",
  120: "E_ADDRESS_REFUSED",
  121: "E_GAVE_WAY",
  106: "E_TOKEN",
  107: "E_REVOKED",
  108: "E_EXPIRED",
  109: "E_NEEDS_TLS",
  201: "E_DAMAGED",
  202: "E_BAD_MESSAGE",
  203: "E_FRAME_TOO_LARGE",
  204: "E_WRONG_STATE",
  205: "E_OUT_OF_RANGE",
  206: "E_FOREIGN_CHUNK",
  207: "E_ILLEGAL",
  208: "E_DAMAGED_PATH",
  301: "E_EXISTS",
  302: "E_NAME",
  303: "E_TOO_LARGE",
  304: "E_NO_SPACE",
  305: "E_DESTINATION",
  306: "E_NOT_DIRECTORY",
  310: "E_ONE_FILE",
  330: "E_QUOTA",
  331: "E_TOO_MANY",
  401: "E_SOURCE_MISSING",
  402: "E_SOURCE_UNREADABLE",
  404: "E_SOURCE_SPECIAL",
  405: "E_SOURCE_CHANGED",
  406: "E_SOURCE_IO",
  407: "E_CONTENT",
  408: "E_SOURCE_LOOP",
  501: "E_IO",
  601: "E_LOST",
  602: "E_INTERRUPTED",
  603: "E_TERMINATED",
  604: "E_PARTIAL",
};

/** The exit codes that scripts may rely on. */
const EXITS = new Set([1, 2, 23, 65, 66, 69, 73, 74, 75, 76, 77, 78, 130, 143]);

t.test("every row is complete", async (t) => {
  for (const [code, { wire, exit, retryable, hint }] of rows) {
    t.match(code, /^E_[A-Z]+(_[A-Z]+)*$/, code);
    t.ok(wire === 0 || (wire >= 101 && wire <= 699), `${code} has a number of a class that exists`);
    t.ok(EXITS.has(exit), `${code} exits with a code of the table`);
    t.type(retryable, "boolean", code);
    t.match(hint, /^[A-Z].*\.$/, `${code} has a sentence that says what to do`);
  }
});

t.test("numbers on the wire are given once, and stay", async (t) => {
  const given = rows.filter(([, { wire }]) => wire !== 0);
  t.equal(new Set(given.map(([, { wire }]) => wire)).size, given.length);
  for (const [wire, code] of Object.entries(ON_THE_WIRE)) t.equal(errorCodeOf(Number(wire)), code, wire);
  for (const [code, { wire }] of given) t.equal(errorCodeOf(wire), code);
  t.same(
    given.map(([, { wire }]) => wire).filter((wire) => !(wire in ON_THE_WIRE)),
    [],
    "a new number is written down here as well",
  );
});

t.test("a number that is not known", async (t) => {
  for (const wire of [0, 1, 100, 299, 0xffff]) t.equal(errorCodeOf(wire), "E_ILLEGAL", String(wire));
});

t.test("an error knows its row", async (t) => {
  for (const [code, { exit, retryable, hint }] of rows) {
    const error = new HawserError(code, "what happened");
    t.match(error, { name: "HawserError", code, message: "what happened", exitCode: exit, retryable, hint });
    t.strictSame(error.toFailure(), { code, message: "what happened" });
  }
});

t.test("anything thrown becomes an error of the table", async (t) => {
  const known = new HawserError("E_IO", "the disk");
  t.equal(asHawserError(known), known, "the same object");
  const bug = new TypeError("x is not a function");
  const wrapped = asHawserError(bug);
  t.match(wrapped, { code: "E_INTERNAL", message: "x is not a function" });
  t.equal(wrapped.cause, bug);
  t.equal(asHawserError("text").message, "text");
  t.equal(asHawserError(undefined).code, "E_INTERNAL");
  t.equal(asHawserError(new LocalProtocolError("ours")).code, "E_INTERNAL", "our own misuse is a bug, not the peer's");
});

t.test("what costs a connection and nothing else", async (t) => {
  const ofOneConnection = rows.filter(([code]) => !endsSession({ code })).map(([code]) => code);
  // A server that is being stopped keeps its sessions on its disk: the client waits until it is back.
  t.strictSame(ofOneConnection.toSorted(), [
    "E_DAMAGED",
    "E_LOST",
    "E_SHUTTING_DOWN",
    "E_TIMEOUT",
    "E_UNKNOWN_SESSION",
  ]);
  for (const code of ofOneConnection) t.ok(ERRORS[code].retryable, `${code}: the same command may go on`);
});

t.test("a failure on the wire", async (t) => {
  for (const [code, { wire }] of rows) {
    const told = wireFailureOf({ code, message: "what happened" });
    t.strictSame(told, { code: wire === 0 ? 305 : wire, message: "what happened" }, code);
  }
  t.equal(wireFailureOf({ code: "E_IO", message: "x".repeat(2000) }).message.length, 1024);
});
