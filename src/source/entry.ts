/** What a transfer may offer besides files in chunks: plain data, found before and opened later, if at all. */
import type { Failure } from "../protocol/errors.ts";
import type { SourceItem } from "./item.ts";

/** A file that is sent whole, in a BUNDLE. */
export interface SmallItem {
  readonly kind: "small";
  /** At the destination: bytes, components separated by '/'. */
  readonly name: Uint8Array;
  readonly size: number;
  /** Seconds since 1970 and nanoseconds. */
  readonly mtime: readonly [number, number];
  /** Permission bits. */
  readonly mode: number;
  /** What is there with the same size and time counts as the same. */
  readonly quick: boolean;
  readonly path: Uint8Array;
  /** As it was found. */
  readonly mtimeMs: number;
  readonly inode: number;
  /** The same file as one that is sent in chunks, or compared first. Throws what looking at it throws. */
  asFile(): SourceItem;
}

/** A symbolic link: it is made anew, and what it points to is nobody's business. */
export interface LinkItem {
  readonly kind: "symlink";
  readonly name: Uint8Array;
  readonly size: 0;
  readonly mtime: readonly [number, number];
  readonly mode: number;
  readonly target: Uint8Array;
}

/** A directory: it comes after all that is in it, so that its time and mode are the last word. */
export interface DirectoryItem {
  readonly kind: "directory";
  readonly name: Uint8Array;
  readonly size: 0;
  readonly mtime: readonly [number, number];
  readonly mode: number;
}

interface NotOffered<K extends "failed" | "skipped"> {
  readonly kind: K;
  readonly name: Uint8Array;
  readonly failure: Failure;
}
/** Something that is not offered: it can't be, or need not. */
export type PassedOver = NotOffered<"failed"> | NotOffered<"skipped">;

export type SmallEntry = SmallItem | LinkItem | DirectoryItem;
export type SourceEntry = SourceItem | SmallEntry | PassedOver;

/** Where entries come from: one by one, when there is room for one more. */
export interface EntryFeed {
  /** `later`: none is there yet, and `onMore` is called when one is; undefined: there are no more. */
  next(): SourceEntry | "later" | undefined;
  onMore: (() => void) | undefined;
  /** Nothing more is asked for: it lets go of what it has open. */
  close(): void;
}

/** A feed of what is all there. */
export function feedOf(entries: Iterable<SourceEntry>): EntryFeed {
  const iterator = entries[Symbol.iterator]();
  return {
    next: () => {
      const { value, done } = iterator.next();
      return done ? undefined : value;
    },
    onMore: undefined,
    close: () => void iterator.return?.(),
  };
}
