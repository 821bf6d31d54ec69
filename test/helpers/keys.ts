/** Keys, tickets and certificates for one test, in a directory of its own. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import type { Test } from "tap";
import { serverKeys } from "../../src/cli/server-keys.ts";
import { formatTicket } from "../../src/protocol/ticket.ts";
import { Tickets } from "../../src/server/tickets.ts";
import type { ServerKeys } from "../../src/server/types.ts";

export interface TestKeys {
  readonly keys: ServerKeys;
  readonly pin: Uint8Array;
  readonly tickets: Tickets;
  /** A new ticket, as text. */
  ticket(name: string, expiresMs?: number): string;
}

export async function testKeys(t: Test, name = "state"): Promise<TestKeys> {
  const directory = join(t.testdirName, "..", `${t.testdirName}-${name}`);
  // A run that was killed has left its own.
  await rm(directory, { recursive: true, force: true });
  const { pin, ...keys } = await serverKeys(directory);
  const tickets = Tickets.open(keys.tickets);
  t.teardown(async () => {
    tickets.close();
    await rm(directory, { recursive: true, force: true });
  });
  const ticket = (client: string, expiresMs?: number) => {
    const { id, token } = tickets.add(client, Date.now(), expiresMs ?? null);
    return formatTicket({ id, token, pin, host: "127.0.0.1", port: 1 });
  };
  return { keys, pin, tickets, ticket };
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface TestAuthority {
  readonly cert: string;
  issue(name: string, dates?: { readonly from?: Date; readonly to?: Date }): Promise<Issued>;
}

/** An authority that signs certificates for 127.0.0.1, localhost and `name`. */
export async function testAuthority(): Promise<TestAuthority> {
  const year = 365 * 24 * 3600 * 1000;
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const [notBefore, notAfter] = [new Date(Date.now() - year), new Date(Date.now() + year)];
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: "01",
    name: "CN=Test authority",
    notBefore,
    notAfter,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  let serial = 1;
  const issue = async (name: string, { from = notBefore, to = notAfter }: { from?: Date; to?: Date } = {}) => {
    const own = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    serial++;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial.toString(16).padStart(2, "0"),
      subject: `CN=${name}`,
      issuer: authority.subject,
      notBefore: from,
      notAfter: to,
      signingAlgorithm: ALGORITHM,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          { type: "dns", value: "localhost" },
          { type: "ip", value: "127.0.0.1" },
        ]),
      ],
    });
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", own.privateKey)).toString("base64");
    const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/.{1,64}/g, "$&\n")}-----END PRIVATE KEY-----\n`;
    return { cert: `${certificate.toString("pem")}\n`, key };
  };
  return { cert: authority.toString("pem"), issue };
}
