/** Which ticket a client uses for which server, and where those lie that were paired. */
import { join } from "node:path";
import type { ClientKeys } from "../client/types.ts";
import { type Endpoint, formatEndpoint } from "../net/dial.ts";
import { parseTicket } from "../protocol/ticket.ts";
import { isLoopback } from "./endpoint.ts";
import { UsageError } from "./errors.ts";
import { needed, neededAuthorities } from "./named-file.ts";
import type { Origin } from "./settings.ts";
import { makeSecretDirectory, readSmallFile, stateDirectory, writeSecretFile } from "./state-directory.ts";

/** As the server's side names it: it is read here without loading what makes it. */
const LOCAL_TICKET_NAME = "local.ticket";
const PAIRED_NAME = "servers";

/** The settings of every command that dials, as `keySettings` has them. */
export interface KeySettings {
  readonly values: {
    readonly insecure: boolean;
    readonly ticketFile: string | undefined;
    readonly ca: string | undefined;
    readonly clientCert: string | undefined;
    readonly clientKey: string | undefined;
    readonly tlsStreams: boolean;
  };
  readonly origins: { readonly ticketFile: Origin };
}

/** What `send` gets of them: nothing where plain TCP is agreed to. Throws E_TICKET, E_CONFIG, E_USAGE. */
export function secureOption(
  to: Endpoint,
  { values, origins }: KeySettings,
  environment: Readonly<Record<string, string | undefined>>,
): { secure?: ClientKeys } {
  const { insecure, ticketFile, ca, clientCert: cert, clientKey: key, tlsStreams } = values;
  refusePlainTls(insecure, tlsStreams);
  if (insecure) return {};
  if (key !== undefined && cert === undefined) throw new UsageError("--client-key needs --client-cert", "Give both.");
  // As everywhere a flag comes first, and the environment before the configuration file.
  const ticket = origins.ticketFile.from === "flag" ? undefined : environment["HAWSER_TICKET"];
  const sources = { ticket, ticketFile, ca, cert, key, tlsStreams };
  return { secure: clientKeys(to, { directory: stateDirectory(environment), ...sources }) };
}

/** On either end. Throws E_USAGE. */
export function refusePlainTls(insecure: boolean, tlsStreams: boolean): void {
  if (!insecure || !tlsStreams) return;
  throw new UsageError("--insecure is plain TCP, and --tls-streams wants TLS", "Leave one or the other out.");
}

export interface KeySources {
  /** The state directory. */
  readonly directory: string;
  /** HAWSER_TICKET. */
  readonly ticket?: string | undefined;
  readonly ticketFile?: string | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly tlsStreams?: boolean | undefined;
}

/** What a server is reached with: the ticket that is given, else the paired one, else, on this machine, its own. Throws E_TICKET, E_CONFIG. */
export function clientKeys(to: Endpoint, sources: KeySources): ClientKeys {
  const { ca, cert, key, tlsStreams } = sources;
  const ticket = givenTicket(sources) ?? pairedTicket(to, sources.directory) ?? localTicket(to, sources.directory);
  return {
    ...(ticket === undefined ? {} : { ticket }),
    ...(ca === undefined ? {} : { ca: neededAuthorities(ca) }),
    ...(cert === undefined ? {} : { cert: needed(cert), key: needed(key ?? cert) }),
    tlsStreams,
  };
}

function givenTicket({ ticket, ticketFile }: KeySources): string | undefined {
  const given = ticket !== undefined && ticket !== "" ? ticket : ticketFile && needed(ticketFile);
  // What is wrong with it is said before anything is dialled.
  if (given !== undefined) parseTicket(given);
  return given;
}

function pairedTicket(to: Endpoint, directory: string): string | undefined {
  return readSmallFile(pairedPath(directory, to));
}

function localTicket({ host }: Endpoint, directory: string): string | undefined {
  return isLoopback(host) ? readSmallFile(join(directory, LOCAL_TICKET_NAME)) : undefined;
}

/** Keeps a ticket for the server that it names, or for `as`. Returns where. Throws E_CONFIG. */
export function keepTicket(text: string, to: Endpoint, directory: string): string {
  makeSecretDirectory(directory);
  makeSecretDirectory(join(directory, PAIRED_NAME));
  const path = pairedPath(directory, to);
  writeSecretFile(path, `${text.trim()}\n`);
  return path;
}

/** A host is a name or an address: what of it no file name may have is escaped. */
function pairedPath(directory: string, { host, port }: Endpoint): string {
  return join(
    directory,
    PAIRED_NAME,
    `${encodeURIComponent(formatEndpoint({ host: host.toLowerCase(), port }))}.ticket`,
  );
}
