/** What an encrypted connection has to show for itself, whichever end asks. */
import { createHash, X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { EXPORTER_BYTES, EXPORTER_LABEL } from "./proof.ts";

export interface Channel {
  /** The same bytes at both ends of this connection, and at no other's. */
  readonly exporter: Uint8Array;
  /** The common name in the other end's certificate, where an authority of ours has signed it. */
  readonly certifiedName?: string | undefined;
}

export function channelOf(socket: TLSSocket, isCertified: boolean): Channel {
  // No context and an empty one are the same in TLS 1.3 (RFC 8446, 7.5).
  const exporter = new Uint8Array(socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0)));
  const name = isCertified ? socket.getPeerCertificate().subject?.CN : undefined;
  return { exporter, certifiedName: typeof name === "string" && name !== "" ? name : undefined };
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
