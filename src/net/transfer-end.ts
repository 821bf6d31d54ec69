/**
 * One end's part in a transfer, whichever role it has. Client and server bring it connections and don't know what is
 * said on them; it knows neither who dialled nor where the other end is.
 */
import type { NamedMessage } from "../protocol/conversation.ts";
import type { HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { Role } from "../protocol/states.ts";
import type { Connection } from "./connection.ts";
import type { Load } from "./load.ts";
import type { SendingLimit } from "./rate-limit.ts";

/** What both ends agreed on when the session was opened. */
export type Terms = Message<"WELCOME">;

export interface Demand {
  /** Whether a stream has had nothing to send since this was asked last. */
  readonly isStarved: boolean;
  /** Bytes that are to be sent and are on no stream yet, as far as that is known; infinite where no end is known. */
  readonly remainingBytes: number;
}

/**
 * A stream that is attached and lives in another thread. Its half of the role was made there; what the two say to each other
 * is plain data that only they know (source/stream.ts).
 */
export interface DistantStream {
  readonly sendingLimit: SendingLimit | undefined;
  post(order: object): void;
  /** Whoever takes it over. */
  events: {
    onReport(report: object): void;
    /** Called once; nothing of it is at work any more. */
    onClosed(error: HawserError | undefined): void;
  };
}

export interface TransferEnd {
  readonly role: Role;
  /** A control connection is open: the first one, or one that takes a broken one's place. */
  controlOpened(control: Connection): void;
  /** The server has begun the session anew, from its disk; missing where this end can't follow. Before `controlOpened`. */
  restart?(terms: Terms): void;
  /** A message on the control connection that is open now. */
  controlMessage(message: NamedMessage): void;
  /** A stream was attached; its events are this end's from now on, and its end is told to `onClosed`. */
  streamOpened(stream: Connection, index: number, onClosed: (error: HawserError | undefined) => void): void;
  /** The same for a stream that lives in another thread; missing where this end has none of them. */
  distantOpened?(stream: DistantStream, index: number, onClosed: (error: HawserError | undefined) => void): void;
  /** A stream is not needed any more: closes it when all that is on it has arrived, and `onClosed` hears of it. */
  closeStream?(index: number): void;
  /** A round trip of the path took so long; the shortest is the path's own. */
  roundTrip?(ms: number): void;
  /** What streams could be needed for; missing where this end does not know, as one that receives. */
  readonly demand?: Demand;
  /** What the other end reads at most by its own word, in bytes a second; null: no limit. Where this end cares. */
  peerReads?(bytesPerSecond: number | null): void;
  /** One word of what this end is at, for a peer that sees nothing move. */
  readonly doing?: string | undefined;
  /** What its time goes into, as far as it tells. */
  readonly load?: Load | undefined;
  /** Ends this end's part: files are let go, and what is unfinished is left for another run. Also after the receipt. */
  dispose(): Promise<void>;
}
