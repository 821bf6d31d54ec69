/** What `hawser serve` can be told. Data only; what it means together is serve-options.ts's business. */
import { CHUNK_BYTES_MAX, DEFAULT_PORT, NAME_BYTES_MAX } from "../protocol/limits.ts";
import { SESSION_TTL_MS } from "../server/types.ts";
import type { Durability } from "../sink/sink.ts";
import * as common from "./common-settings.ts";
import { optional, type Resolved } from "./settings.ts";
import { choice, duration, host, networks, RATE_MIN, rate, size, wholeNumber } from "./values.ts";

export const SERVE_SETTINGS = {
  port: common.setting({
    flag: "port",
    placeholder: "PORT",
    about: "0 picks a free one",
    kind: wholeNumber(0, 65535),
    fallback: DEFAULT_PORT,
    fallbackText: String(DEFAULT_PORT),
  }),
  bind: common.setting({
    flag: "bind",
    placeholder: "ADDRESS",
    about: "where to listen",
    kind: optional(host),
    fallback: undefined,
    fallbackText: "all addresses, with --insecure 127.0.0.1",
  }),
  insecure: common.insecure,
  cert: common.fileSetting("cert", "a certificate to show, in PEM, in place of one that is made and pinned"),
  key: common.fileSetting("key", "its key, where that is not in the same file"),
  clientCa: common.fileSetting("client-ca", "who signs clients' certificates, in PEM: they stand in for tickets"),
  tlsStreams: common.tlsStreams,
  once: common.perRunSwitch("once", "exit after one finished transfer: 0 when it is complete, 23 when files failed"),
  toStdout: common.perRunSwitch(
    "to-stdout",
    "write the one file that comes to standard output, in order, for another program to read; with --once",
  ),
  maxConnections: common.setting({
    flag: "max-connections",
    placeholder: "N",
    about: "connections of transfers at once, all clients together",
    kind: wholeNumber(1, 1_000_000),
    fallback: 1024,
    fallbackText: "1024",
  }),
  maxConnectionsPerPeer: common.setting({
    flag: "max-connections-per-ip",
    placeholder: "N",
    about: "the same from one address; here and below an IPv6 /64 is one",
    kind: wholeNumber(1, 1_000_000),
    fallback: 512,
    fallbackText: "512",
  }),
  maxSessions: common.setting({
    flag: "max-sessions",
    placeholder: "N",
    about: "transfers at once, all clients together",
    kind: wholeNumber(1, 1_000_000),
    fallback: 256,
    fallbackText: "256",
  }),
  maxSessionsPerPeer: common.setting({
    flag: "max-sessions-per-ip",
    placeholder: "N",
    about: "transfers at once of one client: of its ticket, with --insecure of its address",
    kind: wholeNumber(1, 1_000_000),
    fallback: 64,
    fallbackText: "64",
  }),
  maxFileBytes: common.setting({
    flag: "max-file-size",
    placeholder: "SIZE",
    about: "refuse larger files",
    kind: optional(size({})),
    fallback: undefined,
    fallbackText: "no limit",
  }),
  maxEntries: common.setting({
    flag: "max-entries",
    placeholder: "N",
    about: "files, directories and links in one transfer",
    kind: wholeNumber(1, Number.MAX_SAFE_INTEGER),
    fallback: 10_000_000,
    fallbackText: "10000000",
  }),
  maxDepth: common.setting({
    flag: "max-depth",
    placeholder: "N",
    about: "components of a name: the directories that lead to a file, and its own",
    kind: wholeNumber(1, NAME_BYTES_MAX),
    fallback: 128,
    fallbackText: "128",
  }),
  quotaBytes: common.setting({
    flag: "quota",
    placeholder: "SIZE",
    about: "what unfinished files of one client may take on the disk, those under way included",
    kind: optional(size({ minBytes: CHUNK_BYTES_MAX })),
    fallback: undefined,
    fallbackText: "no limit",
  }),
  minFreeBytes: common.setting({
    flag: "min-free",
    placeholder: "SIZE",
    about: "bytes that stay free on the file system",
    kind: optional(size({})),
    fallback: undefined,
    fallbackText: "a twentieth of it, 1GiB at most",
  }),
  minRate: common.setting({
    flag: "min-rate",
    placeholder: "RATE",
    about: "a transfer slower than this for a minute gives way when others want its place; off for none",
    kind: rate,
    fallback: RATE_MIN,
    fallbackText: "1KiB",
  }),
  allow: common.setting<readonly string[]>({
    flag: "allow",
    placeholder: "NETWORK",
    about: "an address or network that may connect, and nobody else; can be given again",
    kind: networks,
    fallback: [],
    repeatable: true,
  }),
  deny: common.setting<readonly string[]>({
    flag: "deny",
    placeholder: "NETWORK",
    about: "one that may not, whatever --allow says; can be given again",
    kind: networks,
    fallback: [],
    repeatable: true,
  }),
  bwlimit: common.bwlimit("what each client may send, all its transfers together"),
  durability: common.setting<Durability>({
    flag: "durability",
    placeholder: "none|commit|checkpoint|strict",
    about:
      "what outlives a power cut: nothing; committed files; those, and what is recorded of unfinished ones; and read back",
    kind: choice("none", "commit", "checkpoint", "strict"),
    fallback: "commit",
    fallbackText: "commit",
  }),
  sessionTtlMs: common.setting({
    flag: "session-ttl",
    placeholder: "DURATION",
    about: "how long what is unfinished is kept for its client to come back",
    kind: duration(100),
    fallback: SESSION_TTL_MS,
    fallbackText: "7d",
  }),
  drainMs: common.setting({
    flag: "drain-timeout",
    placeholder: "DURATION",
    about: "how long transfers under way may go on after SIGTERM or ^C",
    kind: duration(0),
    fallback: 30_000,
    fallbackText: "30s",
  }),
  json: common.perRunSwitch("json", "print events as NDJSON on standard output, the first when it listens"),
  quiet: common.quiet,
  verbose: common.verbose,
};

export type ServeSettings = Resolved<typeof SERVE_SETTINGS>;
export type ServeValues = ServeSettings["values"];
