/** Makes a certificate that signs itself: what a server without one of its own shows. */
// The container of dependencies that the library brings wants this first.
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { X509CertificateGenerator } from "@peculiar/x509";

/** Years do not matter to a key that is pinned: RFC 5280, 4.1.2.5, has this date for 'none'. */
const NEVER = new Date("9999-12-31T23:59:59Z");
const ALWAYS = new Date(0);

/** Key and certificate, both in PEM, ECDSA over P-256. Loading this file takes longer: it is done once in a lifetime. */
export async function makeCertificate(): Promise<{ key: string; cert: string }> {
  const signingAlgorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(signingAlgorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: "01",
    name: "CN=hawser",
    notBefore: ALWAYS,
    notAfter: NEVER,
    signingAlgorithm,
    keys,
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/.{1,64}/g, "$&\n")}-----END PRIVATE KEY-----\n`;
  return { key, cert: `${certificate.toString("pem")}\n` };
}
