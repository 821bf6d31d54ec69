/**
 * Those who came and have not said yet what they want. There are places for so many; who comes when all are taken has
 * one, and somebody else goes: of the address that has most of them, who came first. Whoever means it has spoken long before that,
 * and a crowd from few addresses only displaces itself. Pure.
 */

export interface WaitingLimits {
  readonly max: number;
  readonly maxPerNetwork: number;
}

export class WaitingRoom<T> {
  readonly #limits: WaitingLimits;
  /** By address, each in the order of coming. */
  readonly #rooms = new Map<string, Set<T>>();
  #count = 0;

  constructor(limits: WaitingLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes one in. Returns who has to go for it; never the newcomer, unless there is a place for one only. */
  enter(network: string, one: T): T | undefined {
    const room = this.#rooms.get(network) ?? new Set<T>();
    this.#rooms.set(network, room.add(one));
    this.#count++;
    const { max, maxPerNetwork } = this.#limits;
    if (room.size > maxPerNetwork) return this.#evict(network, room);
    return this.#count > max ? this.#evict(...this.#largest()) : undefined;
  }

  /** It has said what it wants, or is gone. Of no effect on one that is not here. */
  leave(network: string, one: T): void {
    const room = this.#rooms.get(network);
    if (room === undefined || !room.delete(one)) return;
    this.#count--;
    if (room.size === 0) this.#rooms.delete(network);
  }

  /** There are no more rooms than places. */
  #largest(): [network: string, room: Set<T>] {
    let found: [string, Set<T>] | undefined;
    for (const entry of this.#rooms) if (found === undefined || entry[1].size > found[1].size) found = entry;
    return found as [string, Set<T>];
  }

  #evict(network: string, room: Set<T>): T {
    const [first] = room as Iterable<T> as [T];
    this.leave(network, first);
    return first;
  }
}
