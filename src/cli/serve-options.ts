/** What the settings of `hawser serve` mean together: what contradicts itself is refused, the rest is what the server takes. */
import { isatty } from "node:tty";
import type { ServeOptions } from "../server/types.ts";
import { isClosed } from "../source/input.ts";
import { refusePlainTls } from "./client-keys.ts";
import { UsageError } from "./errors.ts";
import type { ServeSettings, ServeValues } from "./serve-settings.ts";

/** Throws UsageError. `operands` are those of the command line. */
export function refuseContradictions(settings: ServeSettings, operands: readonly string[]): void {
  refuseKeys(settings.values);
  if (settings.values.toStdout) refuseForStdout(settings, operands);
}

/** Keys mean nothing in plain, and a key belongs to a certificate. */
function refuseKeys({ insecure, cert, key, clientCa, tlsStreams }: ServeValues): void {
  const given = cert !== undefined || key !== undefined || clientCa !== undefined;
  if (insecure && given) {
    throw new UsageError("--insecure is plain TCP, where no certificate is shown", "Leave one or the other out.");
  }
  refusePlainTls(insecure, tlsStreams);
  if (key !== undefined && cert === undefined) throw new UsageError("--key needs --cert", "Give both.");
}

/** Standard output takes one file, and nothing else. */
function refuseForStdout({ values, origins }: ServeSettings, operands: readonly string[]): void {
  const { once, json } = values;
  if (!once) throw new UsageError("--to-stdout is for one file, and needs --once", "Add --once.");
  if (json) throw new UsageError("--json and --to-stdout both want standard output", "Leave --json out.");
  const [dir] = operands;
  if (dir !== undefined) {
    throw new UsageError(`nothing is written to a directory with --to-stdout, and '${dir}' is given`, "Leave it out.");
  }
  const unused = [origins.durability, origins.minFreeBytes, origins.quotaBytes].find(({ from }) => from === "flag");
  if (unused !== undefined) throw new UsageError(`${unused.place} means nothing with --to-stdout`, "Leave it out.");
  if (isatty(1) || isClosed(1)) {
    const what = isatty(1) ? "a terminal" : "closed";
    throw new UsageError(`standard output is ${what}`, "Say `hawser serve --to-stdout --once | PROGRAM`, or `> FILE`.");
  }
}

/** Without what is found out only when it runs: where to listen, keys, where files go. */
export function serveOptions(values: ServeValues): ServeOptions {
  const { port, maxConnections, maxConnectionsPerPeer, maxSessions, maxSessionsPerPeer } = values;
  const { maxFileBytes, maxEntries, maxDepth, quotaBytes, minFreeBytes, minRate, allow, deny } = values;
  const { sessionTtlMs, durability, bwlimit } = values;
  return {
    port,
    maxConnections,
    maxConnectionsPerPeer,
    maxSessions,
    maxSessionsPerPeer,
    maxEntries,
    maxDepth,
    minFreeBytes: minFreeBytes ?? "auto",
    minBytesPerSecond: minRate,
    allow,
    deny,
    sessionTtlMs,
    durability,
    bytesPerSecondPerPeer: bwlimit,
    ...(maxFileBytes === undefined ? {} : { maxFileBytes }),
    ...(quotaBytes === undefined ? {} : { quotaBytes }),
  };
}
