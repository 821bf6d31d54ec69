/** What an encrypted connection has to show for itself, whichever end asks. */
import { createHash, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { EXPORTER_BYTES, EXPORTER_LABEL } from "./proof.ts";
import { STREAM_SECRET_BYTES, STREAM_SECRET_LABEL } from "./sealing.ts";

/** What bytes go over, whatever is below: a TCP connection, TLS, or a sealed stream. */
export type Carrier = Duplex &
  Pick<Socket, "remoteAddress"> & {
    readonly localPort?: number | undefined;
    setNoDelay(on: boolean): unknown;
    setKeepAlive(on: boolean, afterMs: number): unknown;
    /** What it gave as 'data' is of no more use. */
    release?(bytes: Uint8Array): void;
  };

/** A connection with a TLS handshake of its own. */
export interface TlsChannel {
  readonly kind: "tls";
  /** The same bytes at both ends of this connection, and at no other's. */
  readonly exporter: Uint8Array;
  /** The common name in the other end's certificate, where an authority of ours has signed it. */
  readonly certifiedName?: string | undefined;
  /** What the session's streams are sealed with, where this is its control connection; undefined when it is gone by now. */
  streamSecret(session: Uint8Array): Uint8Array | undefined;
}

/** Whom a server has given a secret for streams. */
export interface StreamGrant {
  readonly peer: string;
  readonly session: Uint8Array;
  /** The ticket that the peer came in by, if it was one. */
  readonly ticket?: Uint8Array | undefined;
}

/** A stream under keys from its session's control connection. */
export interface SealedChannel {
  readonly kind: "sealed";
  /** At the server. */
  readonly grant?: StreamGrant | undefined;
}

export type Channel = TlsChannel | SealedChannel;

export function channelOf(socket: TLSSocket, isCertified: boolean): TlsChannel {
  // No context and an empty one are the same in TLS 1.3 (RFC 8446, 7.5).
  const exporter = new Uint8Array(socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0)));
  const name = isCertified ? socket.getPeerCertificate().subject?.CN : undefined;
  return {
    kind: "tls",
    exporter,
    certifiedName: typeof name === "string" && name !== "" ? name : undefined,
    streamSecret: (session) => {
      // Its keys went with it, which may be before anybody heard of it.
      if (socket.destroyed) return undefined;
      const secret = socket.exportKeyingMaterial(STREAM_SECRET_BYTES, STREAM_SECRET_LABEL, Buffer.from(session));
      return new Uint8Array(secret);
    },
  };
}

/** What a client pins of a server: SHA-256 of the public key in its certificate, so that the rest of it may change. */
export function pinOf(certificate: X509Certificate): Uint8Array {
  const spki = certificate.publicKey.export({ type: "spki", format: "der" });
  return new Uint8Array(createHash("sha256").update(spki).digest());
}

/** The same of a certificate in PEM; the first where there are several. Throws what X509Certificate throws. */
export function pinOfPem(pem: string): Uint8Array {
  return pinOf(new X509Certificate(pem));
}

/** Authorities in PEM, as they are. Throws where there is none in it: TLS would believe those that Node brings instead, the public ones. */
export function authorities(pem: string): string {
  new X509Certificate(pem);
  return pem;
}
