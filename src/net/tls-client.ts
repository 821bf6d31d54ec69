/**
 * The client's end of TLS: over a socket that is connected, and until the other end has shown the right key. Before that
 * nothing is sent but the handshake.
 */
import type { Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { HawserError } from "../protocol/errors.ts";
import { formatPin } from "../protocol/ticket.ts";
import { authorities, type Channel, channelOf, pinOf } from "./channel.ts";
import { cipherList } from "./ciphers.ts";
import { type DialOptions, isIPv6Address } from "./dial.ts";

/** Whom to believe. With neither a pin nor authorities, nobody. */
export interface ClientTrust {
  /** The server's key is this one, whatever its certificate says. */
  readonly pin?: Uint8Array | undefined;
  /** PEM: the certificate is signed by one of these, for `name`, and valid now. */
  readonly ca?: string | undefined;
  /** The host that the user named: an address that was looked up for it stands in no certificate. */
  readonly name: string;
  /** PEM: shown to a server that asks. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

interface Secured {
  readonly socket: Socket;
  readonly channel: Channel;
}

/**
 * Shakes hands over `raw`. `where` names the server in errors. Throws E_SERVER_PLAIN, E_KEY_CHANGED, E_NOT_PAIRED, E_CERTIFICATE, E_CLOCK,
 * E_NOT_HAWSER, E_ADDRESS_REFUSED, E_NO_ANSWER, and E_LOST when it is interrupted; `raw` is closed then.
 */
export function secure(
  raw: Socket,
  trust: ClientTrust,
  where: string,
  { timeoutMs, signal }: DialOptions,
): Promise<Secured> {
  const { ca, name, cert, key } = trust;
  return new Promise((resolve, reject) => {
    let socket: TLSSocket;
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    const fail = (error: HawserError) => {
      settle();
      socket?.destroy();
      raw.destroy();
      reject(error);
    };
    const late = new HawserError("E_NO_ANSWER", `${where} accepts connections, but no TLS handshake came of it`);
    const timer = setTimeout(() => fail(late), timeoutMs);
    const onAbort = () => fail(new HawserError("E_LOST", "it was interrupted"));
    signal?.addEventListener("abort", onAbort, { once: true });
    raw.on("error", () => {});
    if (signal?.aborted) {
      onAbort();
      return;
    }
    try {
      socket = connect({
        socket: raw,
        host: name,
        ...(isAddress(name) ? {} : { servername: name }),
        minVersion: "TLSv1.3",
        ciphers: cipherList(),
        // What is wrong with the certificate is judged below, before anything is written.
        rejectUnauthorized: false,
        // With a pin nobody else is trusted; and reading the public authorities takes ten milliseconds.
        ca: ca === undefined ? [] : authorities(ca),
        ...(cert === undefined ? {} : { cert, key }),
      });
    } catch (cause) {
      const why = `the certificate or the authority for ${where} can't be used: ${(cause as Error).message}`;
      fail(new HawserError("E_CONFIG", why, { cause }));
      return;
    }
    // For as long as it lives: whoever takes it over listens as well.
    socket.on("error", (cause) => fail(handshakeError(where, cause)));
    socket.once("close", () => fail(handshakeError(where, { name: "", message: "", code: "ECONNRESET" })));
    socket.once("secureConnect", () => {
      try {
        const refused = refusal(socket, trust, where);
        if (refused !== undefined) {
          fail(refused);
          return;
        }
        settle();
        resolve({ socket, channel: channelOf(socket, false) });
      } catch (cause) {
        fail(new HawserError("E_CERTIFICATE", `the certificate of ${where} can't be read`, { cause }));
      }
    });
  });
}

/** Why the server is not believed, if it is not. */
function refusal(socket: TLSSocket, { pin, ca, name }: ClientTrust, where: string): HawserError | undefined {
  const nothing = "nothing was sent";
  if (ca !== undefined) {
    const problem = socket.authorizationError as unknown as string | Error | null | undefined;
    if (!socket.authorized) return certificateError(where, name, String((problem as Error)?.message ?? problem));
  }
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined)
    return new HawserError("E_CERTIFICATE", `${where} has shown no certificate; ${nothing}`);
  const got = pinOf(certificate);
  if (pin === undefined) {
    if (ca !== undefined) return undefined;
    const message = `this machine is not paired with ${where}, whose key is ${formatPin(got)}; ${nothing}`;
    return new HawserError("E_NOT_PAIRED", message);
  }
  if (Buffer.compare(pin, got) === 0) return undefined;
  const message = `the key of ${where} is not the one that this machine was paired with: expected ${formatPin(pin)}, got ${formatPin(got)}`;
  return new HawserError("E_KEY_CHANGED", `${message}; ${nothing}`);
}

function certificateError(where: string, name: string, problem: string): HawserError {
  if (problem === "CERT_NOT_YET_VALID") {
    return new HawserError(
      "E_CLOCK",
      `the certificate of ${where} is not valid yet, by this machine's clock; nothing was sent`,
    );
  }
  if (problem === "CERT_HAS_EXPIRED") {
    return new HawserError(
      "E_CLOCK",
      `the certificate of ${where} is not valid any more, by this machine's clock; nothing was sent`,
    );
  }
  return new HawserError(
    "E_CERTIFICATE",
    `the certificate of ${where} is not good for '${name}': ${problem}; nothing was sent`,
  );
}

function handshakeError(where: string, cause: Error & { code?: string; reason?: string }): HawserError {
  const { code = "" } = cause;
  if (/ALERT_HANDSHAKE_FAILURE$/.test(code)) {
    return new HawserError("E_SERVER_PLAIN", `${where} does not speak TLS 1.3: its server runs with --insecure`, {
      cause,
    });
  }
  if (/ALERT_ACCESS_DENIED$/.test(code)) {
    return new HawserError("E_ADDRESS_REFUSED", `${where} does not take transfers from this address`, { cause });
  }
  if (code === "ECONNRESET" || code === "EPIPE") {
    return new HawserError(
      "E_NO_ANSWER",
      `${where} accepts connections, and closed this one during the TLS handshake`,
      { cause },
    );
  }
  const why = cause.reason ?? cause.message;
  return new HawserError("E_NOT_HAWSER", `${where} does not speak TLS as hawser does: ${why}`, { cause });
}

function isAddress(host: string): boolean {
  return isIPv6Address(host) || /^[0-9.]+$/.test(host);
}
