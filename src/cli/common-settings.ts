/** Settings that several commands share, so that they read and mean the same everywhere. Data only. */

import { WORKERS_MAX } from "../client/worker-count.ts";
import {
  CHUNK_BYTES_DEFAULT,
  CHUNK_BYTES_MAX,
  CHUNK_BYTES_MIN,
  CHUNK_BYTES_STEP,
  STREAMS_DEFAULT,
} from "../protocol/limits.ts";
import type { ProgressMode } from "./progress.ts";
import { optional, type Setting } from "./settings.ts";
import { choice, duration, endpoint, onOff, orAuto, rate, size, text, wholeNumber } from "./values.ts";

/** A table entry keeps the type of its value. */
export function setting<T>(entry: Setting<T>): Setting<T> {
  return entry;
}

/** On or off for one run; not in the environment, not in the file. */
export function perRunSwitch(flag: string, about: string, char?: string): Setting<boolean> {
  return { flag, about, kind: onOff, fallback: false, perRun: true, ...(char === undefined ? {} : { char }) };
}

export const to = setting({
  flag: "to",
  placeholder: "HOST[:PORT]",
  about: "the server; an IPv6 address stands in brackets",
  kind: optional(endpoint),
  fallback: undefined,
});

/** What a user may ask for; who leaves it to the program may get more (protocol/limits.ts). */
export const STREAMS_ASKED_MAX = 64;

export const streams = setting({
  flag: "streams",
  char: "P",
  aliases: ["parallel"],
  placeholder: "N",
  about: `connections that carry data, 1 to ${STREAMS_ASKED_MAX}`,
  kind: wholeNumber(1, STREAMS_ASKED_MAX),
  fallback: STREAMS_DEFAULT,
  fallbackText: String(STREAMS_DEFAULT),
});

/** The same where nobody has to know how many. */
export const autoStreams = setting<number | "auto">({
  ...streams,
  placeholder: "auto|N",
  about: `connections that carry data, 1 to ${STREAMS_ASKED_MAX}; auto: as many as pay, found out on the way`,
  kind: orAuto(streams.kind),
  fallback: "auto",
  fallbackText: "auto",
});

export const workers = setting<number | "auto">({
  flag: "workers",
  placeholder: "auto|N",
  about: `threads beside the main one that read, seal and send, 0 to ${WORKERS_MAX}; auto: where there are processors for them`,
  kind: orAuto(wholeNumber(0, WORKERS_MAX)),
  fallback: "auto",
  fallbackText: "auto",
});

export const chunkBytes = setting({
  flag: "chunk-size",
  placeholder: "SIZE",
  about: "the unit that is checked and acknowledged, 64KiB to 16MiB",
  kind: size({ minBytes: CHUNK_BYTES_MIN, maxBytes: CHUNK_BYTES_MAX, stepBytes: CHUNK_BYTES_STEP }),
  fallback: CHUNK_BYTES_DEFAULT,
  fallbackText: "1MiB",
});

export const timeoutMs = setting({
  flag: "timeout",
  placeholder: "DURATION",
  about: "give up after this long without any progress",
  kind: duration(100),
  fallback: 60_000,
  fallbackText: "60s",
});

/** `whom` it holds for. */
export const bwlimit = (whom: string) =>
  setting({
    flag: "bwlimit",
    placeholder: "RATE",
    about: `${whom}, in bytes a second (10MiB) or bits (80Mbit); off for none`,
    kind: rate,
    fallback: null,
    fallbackText: "no limit",
  });

export const insecure = setting({
  flag: "insecure",
  about: "plain TCP without tickets, on both ends: whoever is on the path can read along",
  kind: onOff,
  fallback: false,
  negatable: true,
});

export const tlsStreams = setting({
  flag: "tls-streams",
  about: "TLS on every stream, which is slower; else they are sealed with keys from the first connection's TLS",
  kind: onOff,
  fallback: false,
});

const file = (flag: string, about: string) =>
  setting({ flag, placeholder: "FILE", about, kind: optional(text), fallback: undefined });

/** How a server is known, and this client let in, where that is not what `pair` has kept. */
export const keySettings = {
  ticketFile: file("ticket-file", "a ticket in place of the paired one; HAWSER_TICKET may hold the ticket itself"),
  ca: file("ca", "who signs servers' certificates, in PEM, in place of a pinned key"),
  clientCert: file("client-cert", "a certificate for servers that know their clients by them, in PEM"),
  clientKey: file("client-key", "its key, where that is not in the same file"),
  tlsStreams,
};

export { file as fileSetting };

export const progress = setting<ProgressMode>({
  flag: "progress",
  placeholder: "auto|bar|plain|json|none",
  about: "how progress is shown on standard error; auto: bars on a terminal, else a line every few seconds",
  kind: choice("auto", "bar", "plain", "json", "none"),
  fallback: "auto",
  fallbackText: "auto",
});

export const quiet = setting({
  flag: "quiet",
  char: "q",
  about: "print nothing but errors",
  kind: onOff,
  fallback: false,
});

export const verbose = setting({
  flag: "verbose",
  char: "v",
  about: "say also what was understood and what is going on",
  kind: onOff,
  fallback: false,
});

export const json = perRunSwitch("json", "print one JSON document on standard output");
