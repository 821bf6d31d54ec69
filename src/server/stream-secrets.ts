/**
 * The secrets that sealed streams are opened with: one for each control connection over TLS whose client asked for it,
 * for as long as that connection lives. A client that lost it gets another with the next.
 */
import type { StreamGrant, TlsChannel } from "../net/channel.ts";
import { preferredSeal } from "../net/ciphers.ts";
import type { StreamSecret } from "../net/sealed-server.ts";
import { secretNameOf } from "../net/sealing.ts";
import { NumbersUsed, type SealCipher } from "../protocol/sealed.ts";

export class StreamSecrets {
  readonly #secrets = new Map<string, StreamSecret>();
  /** By whatever stands for the control connection. */
  readonly #names = new Map<object, string>();

  /** What the streams are sealed with, of what the client `offered`; undefined where nothing fits, or the client is gone. */
  grant(control: object, channel: TlsChannel, grant: StreamGrant, offered: readonly string[]): SealCipher | undefined {
    const cipher = preferredSeal(offered);
    if (cipher === undefined) return undefined;
    this.forget(control);
    const secret = channel.streamSecret(grant.session);
    // Nobody would say that it is to be forgotten.
    if (secret === undefined) return undefined;
    const name = nameText(secretNameOf(secret));
    this.#names.set(control, name);
    this.#secrets.set(name, { secret, cipher, grant, used: new NumbersUsed() });
    return cipher;
  }

  find(secretName: Uint8Array): StreamSecret | undefined {
    return this.#secrets.get(nameText(secretName));
  }

  /** The control connection is gone. */
  forget(control: object): void {
    const name = this.#names.get(control);
    if (name === undefined) return;
    this.#names.delete(control);
    this.#secrets.delete(name);
  }
}

function nameText(secretName: Uint8Array): string {
  return Buffer.from(secretName).toString("base64url");
}
