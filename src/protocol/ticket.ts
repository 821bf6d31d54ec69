/**
 * A ticket: what a client needs to reach a server and to be let in, as one line of text that a person can carry over. Its
 * token is a secret, so the line is never shown again: `redactTickets` takes it out of whatever is. Pure.
 *
 * The text is `hawser1.` and, in base64url without padding (RFC 4648, 5), these bytes:
 *
 * offset  bytes  field
 *      0      1  version, 1
 *      1      8  id: names the ticket to the server; no secret
 *      9     32  pin: SHA-256 of the server's public key (its SubjectPublicKeyInfo, DER)
 *     41     32  token: 256 bits from the system's random source
 *     73      2  port, big-endian
 *     75      n  host: a name, or an address without brackets, in ASCII
 *   75+n      4  CRC-32 of all before it
 */
import { crc32 } from "./crc32.ts";
import { HawserError } from "./errors.ts";
import { TICKET_HOST_BYTES_MAX, TICKET_ID_BYTES, TICKET_PIN_BYTES, TICKET_TOKEN_BYTES } from "./limits.ts";

export interface Ticket {
  readonly id: Uint8Array;
  readonly pin: Uint8Array;
  readonly token: Uint8Array;
  readonly host: string;
  readonly port: number;
}

export const TICKET_PREFIX = "hawser1.";

const VERSION = 1;
const PIN_AT = 1 + TICKET_ID_BYTES;
const TOKEN_AT = PIN_AT + TICKET_PIN_BYTES;
const PORT_AT = TOKEN_AT + TICKET_TOKEN_BYTES;
const HOST_AT = PORT_AT + 2;
const CRC_BYTES = 4;

/** Longer than any ticket: text beyond it is not looked at. */
const TEXT_CHARS_MAX = 1024;

export function formatTicket({ id, pin, token, host, port }: Ticket): string {
  const bytes = Buffer.alloc(HOST_AT + host.length + CRC_BYTES);
  bytes[0] = VERSION;
  bytes.set(id, 1);
  bytes.set(pin, PIN_AT);
  bytes.set(token, TOKEN_AT);
  bytes.writeUInt16BE(port, PORT_AT);
  bytes.write(host, HOST_AT, "latin1");
  const end = bytes.length - CRC_BYTES;
  bytes.writeUInt32BE(crc32(bytes.subarray(0, end)), end);
  return TICKET_PREFIX + bytes.toString("base64url");
}

/** Reads a ticket; white space around it and line ends within are no part of it. Throws E_TICKET, which never shows it. */
export function parseTicket(text: string): Ticket {
  const line = text.length > TEXT_CHARS_MAX ? text : text.replace(/\s+/g, "");
  if (line === "") throw unreadable("it is empty");
  if (!line.startsWith("hawser")) throw unreadable("it does not begin with 'hawser1.'");
  if (!line.startsWith(TICKET_PREFIX)) throw unreadable("it is of a version that this program does not know");
  const body = line.slice(TICKET_PREFIX.length);
  if (!/^[A-Za-z0-9_-]*$/.test(body)) throw unreadable("it has characters that no ticket has");
  const bytes = Uint8Array.from(Buffer.from(body, "base64url"));
  const hostBytes = bytes.length - HOST_AT - CRC_BYTES;
  if (hostBytes < 1) throw unreadable("it is too short: a part of it is missing");
  if (hostBytes > TICKET_HOST_BYTES_MAX) throw unreadable("it is too long");
  const view = new DataView(bytes.buffer);
  const end = bytes.length - CRC_BYTES;
  if (view.getUint32(end) !== crc32(bytes.subarray(0, end))) {
    throw unreadable("its checksum is wrong: a character was changed or is missing");
  }
  if (bytes[0] !== VERSION) throw unreadable("it is of a version that this program does not know");
  const host = Buffer.from(bytes.subarray(HOST_AT, end)).toString("latin1");
  const port = view.getUint16(PORT_AT);
  if (!/^[\x21-\x7e]+$/.test(host) || port === 0) throw unreadable("its address is none");
  return {
    id: bytes.slice(1, PIN_AT),
    pin: bytes.slice(PIN_AT, TOKEN_AT),
    token: bytes.slice(TOKEN_AT, PORT_AT),
    host,
    port,
  };
}

/** Whether text seems to hold a ticket: it must not stay where others can read it. */
export function hasTicket(text: string): boolean {
  return /hawser1\.[A-Za-z0-9_-]{16}/.test(text);
}

/** The text without what is secret of tickets in it, whole or not. */
export function redactTickets(text: string): string {
  return text.replace(/hawser1\.[A-Za-z0-9_-]+/g, `${TICKET_PREFIX}...`);
}

/** A pin as people compare it. */
export function formatPin(pin: Uint8Array): string {
  return `sha256:${Buffer.from(pin).toString("base64url")}`;
}

function unreadable(why: string): HawserError {
  return new HawserError("E_TICKET", `this is no ticket: ${why}`);
}
