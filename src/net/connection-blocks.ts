/** The blocks of one connection: taken from the pool, and counted where its chunks share a room with others'. */
import { type BlockPool, blockBytesFor } from "./blocks.ts";
import type { ChunkRoom, RoomUser, Share } from "./chunk-room.ts";

export interface BlocksOwner {
  /** There is room for the block that could not be had. */
  goOn(): void;
  /** As RoomUser has it. */
  comingBytes(): number | undefined;
  /** The connection has to go: ends it, and returns the block of the chunk that was coming, if there is one. */
  giveWay(): Uint8Array | undefined;
}

export class ConnectionBlocks implements RoomUser {
  readonly #pool: BlockPool;
  readonly #owner: BlocksOwner;
  #share: Share | undefined;
  /** What each block in use takes of the share. */
  readonly #taken = new Map<Uint8Array, number>();
  /** Room that was made for the next block. */
  #madeBytes = 0;

  constructor(pool: BlockPool, owner: BlocksOwner) {
    this.#pool = pool;
    this.#owner = owner;
  }

  /** From here on its blocks take of what this peer's connections have together. */
  enterRoom(room: ChunkRoom, peer: string): void {
    this.#share ??= room.enter(peer);
  }

  /** See ChunkBuffers. */
  take(bytes: number, decodedBytes = 0): Uint8Array | undefined {
    const share = this.#share;
    if (share === undefined) return this.#pool.take(bytes);
    const neededBytes = blockBytesFor(bytes) + decodedBytes;
    if (this.#madeBytes === 0 && !share.take(this, neededBytes)) return undefined;
    this.#madeBytes = 0;
    const block = this.#pool.take(bytes);
    this.#taken.set(block, neededBytes);
    return block;
  }

  give(block: Uint8Array): void {
    this.#pool.give(block);
    this.#uncount(block);
  }

  roomMade(bytes: number): void {
    this.#madeBytes = bytes;
    this.#owner.goOn();
    // It may have closed meanwhile, and want nothing more.
    const unused = this.#madeBytes;
    this.#madeBytes = 0;
    if (unused > 0) this.#share?.giveBack(unused);
  }

  get comingBytes(): number | undefined {
    return this.#owner.comingBytes();
  }

  yieldRoom(): void {
    // The system may be reading into it until the socket is gone: it is nobody else's, but what counts is that it goes.
    const block = this.#owner.giveWay();
    if (block !== undefined) this.#uncount(block);
  }

  /** The connection is gone, and with it the chunk that was coming. What others have of its blocks they give back. */
  close(coming: Uint8Array | undefined): void {
    if (coming !== undefined) this.give(coming);
    this.#share?.leave(this);
  }

  #uncount(block: Uint8Array): void {
    const bytes = this.#taken.get(block);
    this.#taken.delete(block);
    if (bytes !== undefined) this.#share?.giveBack(bytes);
  }
}
