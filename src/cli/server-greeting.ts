/** What a server says at its start: where it listens, for whom, and how a client is let in. Pure. */
import { formatEndpoint } from "../net/dial.ts";
import { DEFAULT_PORT } from "../protocol/limits.ts";
import { escapeText } from "../protocol/names.ts";
import { formatPin } from "../protocol/ticket.ts";
import type { ServerEvent } from "../server/types.ts";
import { formatLimit } from "./format.ts";
import { shellQuote } from "./quote.ts";
import type { ServeValues } from "./serve-settings.ts";

type Listening = Extract<ServerEvent, { type: "listening" }>;
type Settings = Pick<ServeValues, "insecure" | "quiet" | "bwlimit" | "cert" | "clientCa">;

/** `pin` is that of the key that is shown; undefined in plain. With --quiet there is a warning left, of a plain server. */
export function greeting({ host, port, dir }: Listening, settings: Settings, pin: Uint8Array | undefined): string {
  const { insecure, quiet, bwlimit } = settings;
  const isAll = host === "::" || host === "0.0.0.0";
  const address = isAll ? `port ${port} of all addresses` : formatEndpoint({ host, port });
  const where = dir === null ? "standard output" : escapeText(dir);
  const lines = [`hawser: receiving into ${where} on ${address}`];
  if (pin !== undefined) lines.push(...howToPair(port, settings, pin));
  if (bwlimit !== null) lines.push(`hawser: each client may send ${formatLimit(bwlimit)}`);
  const said = quiet ? [] : lines;
  if (insecure)
    said.push("hawser: plain TCP without token: whoever reaches this address can send files, and read along");
  return said.map((line) => `${line}\n`).join("");
}

function howToPair(port: number, { cert, clientCa }: Settings, pin: Uint8Array): string[] {
  const whom = clientCa === undefined ? "a ticket" : "a ticket or a certificate that --client-ca is good for";
  const at = port === DEFAULT_PORT ? "" : ` --host HOST:${port}`;
  // A ticket pins the key that is shown.
  const shown = cert === undefined ? "" : ` --cert ${shellQuote(cert)}`;
  return [
    `hawser: encrypted, for who has ${whom}; the key is ${formatPin(pin)}`,
    `  To let a client in: hawser ticket --name NAME${at}${shown} here, then hawser pair there.`,
  ];
}
