/**
 * The way in: whether an address may come at all, who a client is and whether it is let in, how long a wrong ticket waits
 * for its answer, and what of all that is told. Whoever is in gets a place afterwards, or none (`Places`).
 */
import { type Connection, farewell } from "../net/connection.ts";
import type { Gate } from "../net/gate.ts";
import { asHawserError, type Failure, HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { SealCipher } from "../protocol/sealed.ts";
import { AddressRules } from "./address-rules.ts";
import { Doorkeeper } from "./doorkeeper.ts";
import { GuessDelay } from "./guess-delay.ts";
import { networkOf } from "./peer.ts";
import { RefusalLog } from "./refusal-log.ts";
import type { StreamSecrets } from "./stream-secrets.ts";
import type { Tickets } from "./tickets.ts";
import type { ServeOptions, ServerEvent } from "./types.ts";

export interface DoorOptions extends Pick<ServeOptions, "allow" | "deny" | "secure"> {
  readonly onEvent: (event: ServerEvent) => void;
}

export class Door {
  readonly #options: DoorOptions;
  readonly #rules: AddressRules;
  readonly #guesses = new GuessDelay();
  readonly #refusals = new RefusalLog();
  #tickets: Tickets | undefined;
  #streams: StreamSecrets | undefined;
  #doorkeeper = new Doorkeeper(undefined);
  /** What a client hears whose address may not come. */
  #notAdmitted = NOT_ADMITTED;

  /** Throws E_CONFIG. */
  constructor(options: DoorOptions) {
    this.#options = options;
    this.#rules = new AddressRules(options.allow, options.deny);
  }

  /** What a new connection passes first, if anything. Throws E_CONFIG, E_IO. */
  async open(): Promise<Gate | undefined> {
    const { secure } = this.#options;
    if (secure === undefined) return undefined;
    // What encrypts needs time to load, and is loaded where it is used.
    const [{ TLS_NOT_ADMITTED, tlsEntrance }, { gateOf }, { sealedEntrance }, { Tickets }, { StreamSecrets }] =
      await Promise.all([
        import("../net/tls-server.ts"),
        import("../net/gate.ts"),
        import("../net/sealed-server.ts"),
        import("./tickets.ts"),
        import("./stream-secrets.ts"),
      ]);
    const streams = new StreamSecrets();
    const gate = gateOf({ tls: tlsEntrance(secure), sealed: sealedEntrance((name) => streams.find(name)) });
    this.#streams = streams;
    this.#tickets = Tickets.open(secure.tickets);
    this.#doorkeeper = new Doorkeeper(this.#tickets);
    this.#notAdmitted = TLS_NOT_ADMITTED;
    return gate;
  }

  close(): void {
    this.#tickets?.close();
  }

  /** What is said, before a byte is read, to whoever comes from an address that may not; undefined where it may. */
  turnAway(address: string): Uint8Array | undefined {
    if (this.#rules.admits(address)) return undefined;
    this.tellRefused(address, { code: "E_ADDRESS_REFUSED", message: "its address may not come" });
    return this.#notAdmitted;
  }

  /** The peer that asks; undefined where it was refused, and the connection is closed, or will be. */
  admit(
    connection: Connection,
    address: string,
    question: "HELLO" | "ATTACH",
    body: Message<"HELLO"> | Message<"ATTACH">,
  ): string | undefined {
    try {
      return this.#doorkeeper.admit(connection, address, question, body, Date.now());
    } catch (thrown) {
      const error = asHawserError(thrown);
      this.tellRefused(address, error);
      connection.events = { onMessage: () => {}, onClosed: () => {} };
      // Who shows no ticket guesses nothing.
      if (error.code === "E_TOKEN" && body.ticket !== undefined) this.#holdBack(connection, networkOf(address), error);
      else connection.close(error);
      return undefined;
    }
  }

  /** What the streams of a control connection that was let in are sealed with; undefined where they are TLS as it is, or plain. */
  sealStreams(control: Connection, peer: string, session: Uint8Array, hello: Message<"HELLO">): SealCipher | undefined {
    const { channel } = control;
    if (this.#options.secure?.tlsStreams === true || hello.seal === undefined) return undefined;
    if (channel?.kind !== "tls") return undefined;
    return this.#streams?.grant(control, channel, { peer, session, ticket: hello.ticket }, hello.seal);
  }

  /** A connection is gone. */
  forget(connection: Connection): void {
    this.#streams?.forget(connection);
  }

  /** Nothing more is heard meanwhile, and its place is one of those that say nothing. */
  #holdBack(connection: Connection, network: string, error: HawserError): void {
    const timer = setTimeout(() => connection.close(error), this.#guesses.wrong(network, performance.now())).unref();
    connection.mute();
    connection.events = { onMessage: () => {}, onClosed: () => clearTimeout(timer) };
  }

  /** Tells the log that a client got nothing, and why. */
  tellRefused(peer: string, { code, message }: Failure): void {
    this.tellUntold();
    if (!this.#refusals.tells(networkOf(peer), performance.now())) return;
    this.#options.onEvent({ type: "refused", peer, code, message });
  }

  /** Tells how many refusals were not told, when their minute is over. */
  tellUntold(): void {
    const count = this.#refusals.takeUntold(performance.now());
    if (count === 0) return;
    this.#options.onEvent({ type: "warning", message: `${count} more refusals in a minute were not logged` });
  }
}

const NOT_ADMITTED = farewell(
  new HawserError("E_ADDRESS_REFUSED", "this server does not take transfers from your address"),
);
