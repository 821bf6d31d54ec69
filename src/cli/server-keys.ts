/** What `serve` and `ticket` need of keys: made on first use, kept in the state directory. */
import { join } from "node:path";
import { pinOfPem } from "../net/channel.ts";
import { HawserError } from "../protocol/errors.ts";
import { formatTicket, parseTicket } from "../protocol/ticket.ts";
import { isGood, Tickets } from "../server/tickets.ts";
import type { ServerKeys } from "../server/types.ts";
import { needed, neededAuthorities } from "./named-file.ts";
import { makeSecretDirectory, readSmallFile, writeSecretFile, writeSecretFileOnce } from "./state-directory.ts";

export const LOCAL_TICKET_NAME = "local.ticket";
const KEY_NAME = "server.pem";
const TICKETS_NAME = "tickets.db";

/** The database of tickets, in a state directory that is there from then on. Throws E_CONFIG. */
export function ticketsPath(directory: string): string {
  makeSecretDirectory(directory);
  return join(directory, TICKETS_NAME);
}

export interface OwnFiles {
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly clientCa?: string | undefined;
}

/** Paths of PEM files in, keys out; what is not given is made, or was before. Throws E_CONFIG, E_IO. */
export async function serverKeys(directory: string, files: OwnFiles = {}): Promise<ServerKeys & { pin: Uint8Array }> {
  const tickets = ticketsPath(directory);
  const { cert, key } = files.cert === undefined ? await ownPair(directory) : givenPair(files);
  const clientCa = files.clientCa === undefined ? undefined : neededAuthorities(files.clientCa);
  return { cert, key, clientCa, pin: pinIn(cert, files.cert), tickets };
}

/** The two in one file, so that nobody ever sees one without the other. */
async function ownPair(directory: string): Promise<{ cert: string; key: string }> {
  const path = join(directory, KEY_NAME);
  const made = async () => {
    const { makeCertificate } = await import("./certificate.ts");
    const { key, cert } = await makeCertificate();
    return writeSecretFileOnce(path, key + cert);
  };
  const pem = readSmallFile(path) ?? (await made());
  if (!/BEGIN CERTIFICATE/.test(pem) || !/BEGIN PRIVATE KEY/.test(pem)) {
    throw new HawserError(
      "E_CONFIG",
      `'${path}' holds no key and certificate: remove it, and all clients have to pair again`,
    );
  }
  return { cert: pem, key: pem };
}

function givenPair({ cert, key }: OwnFiles): { cert: string; key: string } {
  return { cert: needed(cert as string), key: needed(key ?? (cert as string)) };
}

function pinIn(cert: string, path: string | undefined): Uint8Array {
  try {
    return pinOfPem(cert);
  } catch (cause) {
    throw new HawserError("E_CONFIG", `'${path ?? KEY_NAME}' holds no certificate that can be read`, { cause });
  }
}

/** Sees to it that this user's own clients on this machine need no pairing: a ticket that lies beside the keys. */
export function keepLocalTicket(directory: string, { pin, tickets: path }: { pin: Uint8Array; tickets: string }): void {
  const tickets = Tickets.open(path);
  try {
    tickets.atOnce(() => {
      const file = join(directory, LOCAL_TICKET_NAME);
      if (isStillGood(readSmallFile(file), pin, tickets)) return;
      const { id, token } = tickets.renewLocal(Date.now());
      writeSecretFile(file, `${formatTicket({ id, token, pin, host: "localhost", port: 1 })}\n`);
    });
  } finally {
    tickets.close();
  }
}

function isStillGood(text: string | undefined, pin: Uint8Array, tickets: Tickets): boolean {
  if (text === undefined) return false;
  try {
    const ticket = parseTicket(text);
    const known = tickets.find(ticket.id);
    return Buffer.compare(ticket.pin, pin) === 0 && known !== undefined && isGood(known, Date.now());
  } catch {
    return false;
  }
}
