/**
 * What a sink keeps of transfers that did not come to their end: which file is whose, what is there of it, and whether
 * that may be trusted. Shared by all sessions of a server, so that no two write to one part.
 */
import { HawserError } from "../protocol/errors.ts";
import type { OfferedFile } from "../protocol/messages.ts";
import { displayName } from "../protocol/names.ts";
import { chunksThere } from "./part-check.ts";
import { bootId } from "./platform.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { NewFile, SessionStore, StoredChunk, StoredFile, StoredSession } from "./session-store.ts";
import type { Part, PartSpec, Sink } from "./sink.ts";

/** Who asks: a session, and whose it is. */
export interface Owner {
  readonly sessionId: string;
  readonly peer: string;
  /** Who pays for its parts; nobody where there is no quota. */
  readonly account?: string | undefined;
  readonly chunkBytes: number;
  /** Earlier runs' work is thrown away instead of gone on with. */
  readonly fresh: boolean;
}

export const hexOf = (bytes: Uint8Array | readonly number[]) => Buffer.from(bytes).toString("hex");

export class Unfinished {
  readonly #sink: Sink;
  readonly #store: SessionStore;
  readonly #evict: (sessionId: string) => Promise<unknown>;
  /** Files that a session has under way now: by peer and key, the session and which of its files it is. */
  readonly #claims = new Map<string, { readonly sessionId: string; readonly file: number }>();

  /** `evict`: ends a session whose client is gone, and only such a one. */
  constructor(sink: Sink, store: SessionStore, evict: (sessionId: string) => Promise<unknown> = async () => {}) {
    this.#sink = sink;
    this.#store = store;
    this.#evict = evict;
  }

  /** Makes a file this session's own. Throws E_BUSY where another session, whose client is there, has it under way. */
  async claim({ sessionId, peer }: Owner, { key, name, file }: OfferedFile, signal: AbortSignal): Promise<void> {
    if (key === undefined) return;
    const claim = `${peer} ${hexOf(key)}`;
    const holder = this.#claims.get(claim);
    if (holder !== undefined && holder.sessionId !== sessionId) {
      await Promise.race([this.#evict(holder.sessionId), aborted(signal)]);
    }
    const now = this.#claims.get(claim);
    if (now?.sessionId === sessionId && now.file !== file) {
      throw new HawserError("E_BUSY", `'${displayName(name)}' is offered twice in one transfer`);
    }
    if (now !== undefined && now.sessionId !== sessionId) {
      throw new HawserError("E_BUSY", `'${displayName(name)}' is being sent by another transfer of yours`);
    }
    this.#claims.set(claim, { sessionId, file });
  }

  /** Somebody else may have the file. */
  unclaim({ sessionId, peer }: Owner, { key, file }: OfferedFile): void {
    if (key === undefined) return;
    const claim = `${peer} ${hexOf(key)}`;
    const holder = this.#claims.get(claim);
    if (holder?.sessionId === sessionId && holder.file === file) this.#claims.delete(claim);
  }

  /**
   * What an earlier run left of a file that `claim` was successful for, now in the hands of this session; undefined where
   * there is nothing, or nothing that may be gone on with: that is thrown away.
   */
  async find(owner: Owner, { key, name, size }: OfferedFile): Promise<StoredFile | undefined> {
    if (key === undefined) return undefined;
    const found = await this.#store.findFile(owner.peer, hexOf(key), owner.sessionId);
    if (found === undefined) return undefined;
    const { file, sessionId } = found;
    const isSame = Buffer.compare(file.name, name) === 0 && file.size === size;
    if (!isSame || owner.fresh || !(await this.#fits(owner, sessionId))) {
      await this.discard(file);
      return undefined;
    }
    if (sessionId !== owner.sessionId) await this.#store.moveFile(file.id, owner.sessionId);
    return file;
  }

  /** Whether the file was committed, as far as anybody knows: what lies under its name now is the proof. */
  async takeUpCommit(file: ReceivedFile, stored: StoredFile): Promise<boolean> {
    const { state, commit, id, name, partId } = stored;
    // What was never synced may have its name and its size after a power cut, and zeros in it.
    if (state === "receiving" || (this.#sink.capabilities.durability === "none" && !isOfThisBoot(stored))) return false;
    if (commit === null || !(await this.#sink.isCommitted(name, commit.fingerprint, commit.size))) {
      await this.#store.endCommit(id, false);
      return false;
    }
    await this.#store.endCommit(id, true);
    // Between the link and the unlink a file has two names.
    await this.#sink.dropPart(partId);
    file.id = id;
    file.committed = commit;
    return true;
  }

  /** Takes up the file's part with the chunks that may be trusted. Returns false where it is to begin anew. */
  async takeUpPart(
    file: ReceivedFile,
    stored: StoredFile,
    signal: AbortSignal,
    how: Pick<PartSpec, "clobber" | "exactMode" | "account"> = {},
  ): Promise<boolean> {
    const { name, size, mtime, mode } = file.offer;
    const recorded = size === null ? [] : await this.#store.chunks(stored.id);
    const bytesAt = (offset: number) => file.ledger.bytesAt(offset);
    const usable = recorded.filter(({ offset }) => file.ledger.isChunk(offset, bytesAt(offset)));
    const bytesThere = usable.reduce((sum, { offset }) => sum + bytesAt(offset), 0);
    const spec: PartSpec = { id: stored.partId, name, size, mtime, mode, ...how };
    const part = usable.length === 0 ? undefined : await this.#sink.reopen(spec, bytesThere);
    if (part === undefined) {
      await this.discard(stored);
      return false;
    }
    try {
      file.inherit(await this.#trusted(part, stored, recorded, usable, bytesAt, signal));
    } catch (thrown) {
      await part.close();
      throw thrown;
    }
    file.id = stored.id;
    file.partId = stored.partId;
    file.part = part;
    return true;
  }

  /** After the machine was started anew, what was recorded without being synced counts when it was read and is right. */
  async #trusted(
    part: Part,
    stored: StoredFile,
    recorded: readonly StoredChunk[],
    usable: StoredChunk[],
    bytesAt: (offset: number) => number,
    signal: AbortSignal,
  ): Promise<StoredChunk[]> {
    const { id } = stored;
    if (isOfThisBoot(stored)) return usable;
    const there = await chunksThere(part, usable, bytesAt, signal);
    const kept = new Set(there);
    const offsets = recorded.filter((chunk) => !kept.has(chunk)).map(({ offset }) => offset);
    await this.#store.forgetChunks(id, offsets);
    await this.#store.renewBoot(id);
    return there;
  }

  /** Writes down new files that can be gone on with, before the source hears that they are wanted. */
  async remember(sessionId: string, files: readonly ReceivedFile[], partId: (index: number) => string): Promise<void> {
    if (this.#sink.capabilities.inOrder === true) return;
    const fresh = files.filter(({ id, offer }) => id === undefined && offer.key !== undefined);
    if (fresh.length === 0) return;
    const ids = await this.#store.addFiles(
      sessionId,
      fresh.map((file) => newFileOf(file.offer, partId(file.index))),
    );
    fresh.forEach((file, i) => {
      file.id = ids[i];
      file.partId = partId(file.index);
    });
  }

  /**
   * A file of this name is there now: what else the peer had begun under it (another version of its source, most often)
   * can't be committed any more.
   */
  async supersede(
    { peer, sessionId }: Owner,
    { name, id }: { readonly name: Uint8Array; readonly id: number | undefined },
  ) {
    for (const other of await this.#store.findNamed(peer, name)) {
      if (other.file.id === id || other.live || other.file.state !== "receiving") continue;
      await this.discard(other.file);
      const left = (await this.#store.load(other.sessionId))?.files ?? [];
      if (left.length === 0 && other.sessionId !== sessionId) await this.#store.drop(other.sessionId);
    }
  }

  /** Throws away what is stored of a file. */
  async discard({ id, partId }: Pick<StoredFile, "id" | "partId">): Promise<void> {
    await this.#store.forgetFiles([id]);
    await this.#sink.dropPart(partId);
  }

  /**
   * A session is left: files of which nothing is there are forgotten, and it with them when none is left. `heard`: so are
   * those that were committed.
   */
  async leave(sessionId: string, heard: boolean): Promise<void> {
    const files = (await this.#store.load(sessionId))?.files ?? [];
    const useless: StoredFile[] = [];
    for (const file of files) {
      const isOfUse =
        file.key !== null &&
        (file.state === "receiving" ? await this.#store.hasChunks(file.id) : !(heard && isDone(file)));
      if (!isOfUse) useless.push(file);
    }
    if (useless.length === files.length) await this.#store.drop(sessionId);
    else {
      await this.#store.forgetFiles(useless.map(({ id }) => id));
      await this.#store.close(sessionId);
    }
    // Of what was committed as well: whoever moves directories about meanwhile may have kept it from going.
    for (const { partId } of useless) await this.#sink.dropPart(partId);
  }

  /** Forgets a session that nobody has open, with its parts. */
  async drop({ record, files }: StoredSession): Promise<void> {
    await this.#store.drop(record.id);
    for (const { partId } of files) await this.#sink.dropPart(partId);
  }

  /** Sessions of one chunk size can have each other's files. */
  async #fits({ sessionId, chunkBytes }: Owner, from: string): Promise<boolean> {
    if (from === sessionId) return true;
    return (await this.#store.load(from))?.record.chunkBytes === chunkBytes;
  }
}

/** Two sessions that wait for each other's end must not do so for ever: rejects when `signal` is aborted. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** null: nobody knows whether it is the same. */
const isOfThisBoot = (stored: StoredFile) => stored.bootId !== null && stored.bootId === bootId();

const isDone = ({ state }: StoredFile) => state === "committed";

function newFileOf({ key, name, size, mtime, mode }: OfferedFile, partId: string): NewFile {
  return { key: key === undefined ? null : hexOf(key), name, size, mtime, mode, partId };
}
