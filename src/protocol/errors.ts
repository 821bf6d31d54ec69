/**
 * The one table of errors: what can go wrong, its number on the wire, whether trying again can help, the exit code that
 * scripts see, and the next step for whoever reads it. README.md and PROTOCOL.md are checked against it.
 *
 * Wire numbers are never used twice: 1xx opening, 2xx protocol, 3xx destination, 4xx source, 5xx either end's machine,
 * 6xx ends of a transfer; 0 stays on this machine.
 */

import { TEXT_CHARS_MAX } from "./limits.ts";

interface ErrorRow {
  readonly wire: number;
  readonly retryable: boolean;
  readonly exit: number;
  readonly hint: string;
}

const row = (wire: number, exit: number, retryable: boolean, hint: string): ErrorRow => ({
  wire,
  retryable,
  exit,
  hint,
});

export const ERRORS = {
  E_USAGE: row(0, 2, false, "Correct what the message names; --help after the command says what it takes."),
  E_CONFIG: row(0, 78, false, "Correct what the message names: the setting, the file, or the directory."),
  E_ADDRESS_IN_USE: row(0, 78, false, "Choose another port with --port, or 0 to have a free one picked."),
  E_DIRECTORY_IN_USE: row(0, 78, false, "Use the server that already serves it, or serve another directory."),
  E_INTERNAL: row(0, 1, false, "This is a bug in hawser: please report it with the trace."),

  E_UNREACHABLE: row(0, 69, true, "Check the address and port, that `hawser serve` runs there, and the firewall."),
  E_NO_ANSWER: row(0, 69, true, "Something accepts connections there but says nothing: check the port."),
  E_NOT_HAWSER: row(0, 76, false, "Another program answers there: check the port that `hawser serve` printed."),
  E_VERSION: row(101, 76, false, "Update the older end."),
  E_UNKNOWN_SESSION: row(102, 75, true, "Run the same command again."),
  E_BUSY: row(
    103,
    69,
    true,
    "Try again later, when others have finished; where it is the same file that another hawser sends, let that finish or stop it.",
  ),
  E_SHUTTING_DOWN: row(104, 69, true, "The server is being stopped: try again when it is back."),
  E_ADDRESS_REFUSED: row(
    120,
    77,
    false,
    "Ask whoever runs the server to let this address in: its --allow and --deny say who may come.",
  ),
  E_GAVE_WAY: row(121, 75, true, "Others wanted the place: run the same command again, and it goes on where it stood."),
  E_TIMEOUT: row(105, 75, true, "Check the path between the two machines, then run the same command again."),
  E_TOKEN: row(
    106,
    77,
    false,
    "Make a new ticket where the server runs, with `hawser ticket`, and give it to `hawser pair` here.",
  ),
  E_REVOKED: row(107, 77, false, "Ask whoever runs the server for a new ticket, and give it to `hawser pair` here."),
  E_EXPIRED: row(108, 77, false, "Ask whoever runs the server for a new ticket, and give it to `hawser pair` here."),
  E_NEEDS_TLS: row(109, 77, false, "Leave --insecure out: this server is reached over TLS, with a ticket."),
  E_TICKET: row(0, 77, false, "Copy the whole line that `hawser ticket` printed on the server."),
  E_NOT_PAIRED: row(
    0,
    77,
    false,
    "Run `hawser ticket` where the server runs, and give what it prints to `hawser pair` here, once.",
  ),
  E_SERVER_PLAIN: row(
    0,
    77,
    false,
    "Start the server without --insecure; or, where the network is trusted, give --insecure here as well.",
  ),
  E_KEY_CHANGED: row(
    0,
    77,
    false,
    "If the server was set up anew, pair again with a new ticket; if not, somebody else answers in its place.",
  ),
  E_SERVER_UNPROVEN: row(
    0,
    77,
    false,
    "Pair again with a new ticket: this server does not know the one that is kept here.",
  ),
  E_CERTIFICATE: row(0, 77, false, "Check the server's --cert, and that --ca here names who signed it."),
  E_CLOCK: row(0, 77, false, "Check the clocks of both machines, then the dates of the server's certificate."),

  E_DAMAGED: row(201, 76, true, "The path damaged data: run the same command again."),
  E_BAD_MESSAGE: row(202, 76, false, "The other end breaks the protocol: update it, or report it."),
  E_FRAME_TOO_LARGE: row(203, 76, false, "The other end breaks the protocol: update it, or report it."),
  E_WRONG_STATE: row(204, 76, false, "The other end breaks the protocol: update it, or report it."),
  E_OUT_OF_RANGE: row(205, 76, false, "The other end breaks the protocol: update it, or report it."),
  E_FOREIGN_CHUNK: row(206, 76, false, "The other end breaks the protocol: update it, or report it."),
  E_ILLEGAL: row(207, 76, false, "The other end breaks the protocol: update it, or report it."),
  E_DAMAGED_PATH: row(208, 76, true, "One chunk arrived damaged again and again: check the network, or use another."),

  E_EXISTS: row(
    301,
    73,
    false,
    "Choose another name with --name or --into, remove what is there, or say what to do with it: --overwrite.",
  ),
  E_NAME: row(302, 73, false, "Rename it, or give it another name with --name, another place with --into."),
  E_TOO_LARGE: row(303, 73, false, "The server's --max-file-size forbids it."),
  E_NO_SPACE: row(304, 74, true, "Free space on the destination, then run the same command again."),
  E_DESTINATION: row(305, 74, true, "Look at the server's log: it could not write there."),
  E_NOT_DIRECTORY: row(306, 73, false, "A part of the destination's path is a file or a link: choose another --into."),

  E_QUOTA: row(
    330,
    74,
    true,
    "Finish or drop what this client left unfinished there, send fewer large files at once, or have --quota raised.",
  ),
  E_TOO_MANY: row(
    331,
    73,
    false,
    "Send fewer at once, or an archive of them; the server's --max-entries forbids more.",
  ),

  E_ONE_FILE: row(310, 73, false, "The server passes one file on to another program: send one, such as an archive."),

  E_SOURCE_MISSING: row(401, 66, false, "Check the path."),
  E_SOURCE_UNREADABLE: row(402, 66, false, "Check that you may read it."),
  E_SOURCE_SPECIAL: row(
    404,
    66,
    false,
    "Only files, directories and links can be sent; what another program writes, pipe into `hawser send -`.",
  ),
  E_SOURCE_CHANGED: row(405, 65, true, "Send it again when nothing writes to it any more."),
  E_SOURCE_IO: row(406, 74, true, "The disk that holds it reports an error: check the disk."),
  E_CONTENT: row(
    407,
    65,
    true,
    "What arrived is not what was read, or what was expected, and nothing was committed: send it again.",
  ),
  E_SOURCE_LOOP: row(408, 66, false, "Leave it out with --exclude, or send links as links, without --copy-links."),

  E_IO: row(501, 74, true, "Check the disk and the permissions that the message names."),

  E_LOST: row(601, 75, true, "Run the same command again."),
  E_INTERRUPTED: row(602, 130, true, "Run the same command again."),
  E_TERMINATED: row(603, 143, true, "Run the same command again."),
  E_PARTIAL: row(604, 23, true, "The files that failed are listed; the others are committed."),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

const byWire = new Map(
  Object.entries(ERRORS)
    .filter(([, { wire }]) => wire !== 0)
    .map(([code, { wire }]) => [wire, code as ErrorCode]),
);

/** The code for a number from the wire; one that a newer peer knows and we don't is a protocol error of its class. */
export function errorCodeOf(wire: number): ErrorCode {
  return byWire.get(wire) ?? "E_ILLEGAL";
}

/** Errors that cost a connection and nothing else: it is dialled again, and the session goes on. */
const OF_ONE_CONNECTION = new Set<ErrorCode>([
  "E_DAMAGED",
  "E_LOST",
  "E_TIMEOUT",
  "E_UNKNOWN_SESSION",
  // Its sessions are on its disk, and go on when it is back.
  "E_SHUTTING_DOWN",
]);

/** Whether an error ends the session, or only the connection that it happened on. */
export function endsSession({ code }: { readonly code: ErrorCode }): boolean {
  return !OF_ONE_CONNECTION.has(code);
}

/** What a file or a transfer failed of, as data: for JSON, for events, for messages between threads. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

/** A failure as it goes on the wire. Codes that have no number there are this machine's own affair: E_DESTINATION. */
export function wireFailureOf({ code, message }: Failure): { code: number; message: string } {
  return { code: ERRORS[code].wire || ERRORS.E_DESTINATION.wire, message: message.slice(0, TEXT_CHARS_MAX) };
}

/** An error with a place in the table: its reader can mend it, or the peer broke the protocol. Never a bug of ours. */
export class HawserError extends Error {
  override readonly name = "HawserError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get hint(): string {
    return ERRORS[this.code].hint;
  }
  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  toFailure(): Failure {
    return { code: this.code, message: this.message };
  }
}

/** What the peer said when it ended a connection or the session. */
export class PeerError extends HawserError {}

/** We called the protocol core in a way that it forbids: a bug on this end, which no peer can bring about. */
export class LocalProtocolError extends Error {
  override readonly name = "LocalProtocolError";
}

/** Anything thrown, as an error of the table; what is not in it is a bug and keeps its cause. */
export function asHawserError(thrown: unknown): HawserError {
  if (thrown instanceof HawserError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new HawserError("E_INTERNAL", message, { cause: thrown });
}
