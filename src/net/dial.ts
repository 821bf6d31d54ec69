/** Opening connections: name to address, a deadline, and errors that say which of the two ends to look at. */
import { connect, isIPv6, type Socket } from "node:net";
import { HawserError } from "../protocol/errors.ts";
import { type DirectReader, onreadOf } from "./direct-read.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Node's own makes a large expression the first time it is asked, which takes some milliseconds: only what may be one. */
export function isIPv6Address(text: string): boolean {
  return text.includes(":") && isIPv6(text);
}

export function formatEndpoint({ host, port }: Endpoint): string {
  return isIPv6Address(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

export interface DialOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: "nothing listens there",
  EHOSTUNREACH: "no route to it",
  ENETUNREACH: "no route to it",
  ENOTFOUND: "the name is not known",
  EAI_AGAIN: "the name could not be looked up",
  ETIMEDOUT: "it does not answer",
};

/** A connected socket that reads through `reader`, if there is one. Throws E_UNREACHABLE. */
export function dial(endpoint: Endpoint, reader: DirectReader | undefined, options: DialOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { host, port } = endpoint;
    const where = formatEndpoint(endpoint);
    const socket = connect({ host, port, ...(reader === undefined ? {} : { onread: onreadOf(() => reader) }) });
    const fail = (why: string, cause?: unknown) => {
      settle();
      socket.on("error", () => {});
      socket.destroy();
      reject(new HawserError("E_UNREACHABLE", `${where} can't be reached: ${why}`, { cause }));
    };
    const onError = (cause: Error & { code?: string; errors?: (Error & { code?: string })[] }) => {
      const code = cause.code ?? cause.errors?.[0]?.code ?? "";
      fail(REASONS[code] ?? (cause.message || code), cause);
    };
    const onConnect = () => {
      settle();
      resolve(socket);
    };
    const onAbort = () => fail("it was interrupted");
    const timer = setTimeout(() => fail(`no answer within ${options.timeoutMs / 1000} s`), options.timeoutMs);
    const settle = () => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
      socket.off("error", onError);
      socket.off("connect", onConnect);
    };
    socket.on("error", onError);
    socket.on("connect", onConnect);
    options.signal?.addEventListener("abort", onAbort, { once: true });
    if (options.signal?.aborted) onAbort();
  });
}
