/**
 * Memory for chunks on their way in: how much all connections of a server may have of it, and each client. A connection
 * for whose next chunk there is no room is not read until there is. Pure but for its clock.
 *
 * A client may have half of what the others leave: one alone half of all, the next a quarter, so that there is
 * something left for whoever comes. Who has least is served first. What is begun and comes slowest goes when others wait.
 */

/** How long a chunk may take to come before it has to go for others that wait. */
const SLOW_MS = 30_000;
const LOOK_MS = 1000;

/** Who gets room: a connection. */
export interface RoomUser {
  /** Room was made for what it asked for last, and is its own now. */
  roomMade(bytes: number): void;
  /** What of the chunk that is coming has come, in bytes; undefined where none is, or this end is what it waits for. */
  readonly comingBytes: number | undefined;
  /** Others need the room of the chunk that is coming: gives it back. */
  yieldRoom(): void;
}

/** What a connection has of the room, through its client. */
export interface Share {
  /** Whether there is room, which is the user's then; if not it waits, and hears of it. */
  take(user: RoomUser, bytes: number): boolean;
  /** Of what it took. */
  giveBack(bytes: number): void;
  /** It takes nothing more. What it has it gives back still. */
  leave(user: RoomUser): void;
}

/** Of one client. */
interface Counts {
  bytes: number;
  users: number;
}

interface Waiting {
  readonly user: RoomUser;
  readonly share: Counts;
  readonly bytes: number;
}

interface Coming {
  readonly share: Counts;
  readonly sinceMs: number;
}

export class ChunkRoom {
  readonly bytesMax: number;
  readonly #slowMs: number;
  #bytes = 0;
  readonly #shares = new Map<string, Counts>();
  readonly #waiting = new Map<RoomUser, Waiting>();
  /** Of each user the last that it got: the chunk that may still be coming. */
  readonly #coming = new Map<RoomUser, Coming>();
  #ticker: NodeJS.Timeout | undefined;
  #serving = false;

  constructor(bytesMax: number, slowMs = SLOW_MS) {
    this.bytesMax = bytesMax;
    this.#slowMs = slowMs;
  }

  /** What all have, and how many wait. */
  get bytes(): number {
    return this.#bytes;
  }
  get waiting(): number {
    return this.#waiting.size;
  }

  /** What one client may have, for one more connection of it. */
  enter(peer: string): Share {
    const found = this.#shares.get(peer) ?? { bytes: 0, users: 0 };
    this.#shares.set(peer, found);
    found.users++;
    return {
      take: (user, bytes) => this.#take({ user, share: found, bytes }),
      giveBack: (bytes) => this.#giveBack(peer, found, bytes),
      leave: (user) => this.#leave(peer, found, user),
    };
  }

  #leave(peer: string, share: Counts, user: RoomUser): void {
    this.#waiting.delete(user);
    this.#coming.delete(user);
    share.users--;
    this.#forgetIfEmpty(peer, share);
    this.#serve();
  }

  #take(asked: Waiting): boolean {
    const { user, share, bytes } = asked;
    const before = this.#first();
    const isTurn = before === undefined || before.share.bytes > share.bytes;
    if (isTurn && !this.#isOverShare(asked) && this.#fits(bytes)) {
      this.#give(asked);
      return true;
    }
    this.#waiting.set(user, asked);
    this.#ticker ??= setInterval(() => this.#look(performance.now()), Math.min(LOOK_MS, this.#slowMs)).unref();
    return false;
  }

  #giveBack(peer: string, share: Counts, bytes: number): void {
    share.bytes -= bytes;
    this.#bytes -= bytes;
    this.#forgetIfEmpty(peer, share);
    this.#serve();
  }

  /** One chunk always may come, or nothing ever would. */
  #isOverShare({ share, bytes }: Waiting): boolean {
    return share.bytes > 0 && share.bytes + bytes > (this.bytesMax - (this.#bytes - share.bytes)) / 2;
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.bytesMax;
  }

  #give({ user, share, bytes }: Waiting): void {
    share.bytes += bytes;
    this.#bytes += bytes;
    this.#coming.set(user, { share, sinceMs: performance.now() });
  }

  #serve(): void {
    // Who gets room may give some back at once.
    if (this.#serving) return;
    this.#serving = true;
    for (let next = this.#first(); next !== undefined && this.#fits(next.bytes); next = this.#first()) {
      this.#waiting.delete(next.user);
      this.#give(next);
      next.user.roomMade(next.bytes);
    }
    this.#serving = false;
    if (this.#waiting.size > 0) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  /** Who is next: of the clients that may have more the one that has least, and of its connections the one that waits longest. */
  #first(): Waiting | undefined {
    let first: Waiting | undefined;
    for (const one of this.#waiting.values()) {
      if ((first === undefined || one.share.bytes < first.share.bytes) && !this.#isOverShare(one)) first = one;
    }
    return first;
  }

  /** For who is served next the slowest chunks go, as many as it takes. */
  #look(nowMs: number): void {
    this.#serve();
    // Who waits for its own client has at least as much for what is coming.
    const waits = this.#first() ?? this.#waiting.values().next().value;
    if (waits === undefined) return;
    const slow = [...this.#coming].flatMap(([user, { share, sinceMs }]) => {
      const bytes = user.comingBytes;
      const tookMs = nowMs - sinceMs;
      if (bytes === undefined || tookMs < this.#slowMs || share.bytes < waits.share.bytes) return [];
      return [{ user, rate: bytes / tookMs }];
    });
    for (const { user } of slow.toSorted((a, b) => a.rate - b.rate)) {
      if (!this.#waiting.has(waits.user)) return;
      user.yieldRoom();
    }
  }

  #forgetIfEmpty(peer: string, share: Counts): void {
    if (share.users === 0 && share.bytes === 0 && this.#shares.get(peer) === share) this.#shares.delete(peer);
  }
}
