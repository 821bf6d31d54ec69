/** What a transfer may offer besides files in chunks: plain data, found before and opened later, if at all. */
import type { ByteText } from "../protocol/byte-text.ts";
import type { Failure } from "../protocol/errors.ts";
import type { SourceItem } from "./item.ts";

/** A file that is sent whole, in a BUNDLE. There are many: it holds no object, and is none but itself. */
export interface SmallItem {
  readonly kind: "small";
  /** At the destination, components separated by '/'. */
  readonly name: ByteText;
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** What is there with the same size and time counts as the same. */
  readonly quick: boolean;
  readonly path: ByteText;
  /** As it was found. */
  readonly mtimeMs: number;
  readonly inode: number;
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

/** A feed of what is all there: entries, and iterables of them. */
export function feedOf(entries: Iterable<SourceEntry | Iterable<SourceEntry>>): EntryFeed {
  const outer = entries[Symbol.iterator]();
  let inner: Iterator<SourceEntry> | undefined;
  return {
    next: () => {
      for (;;) {
        if (inner !== undefined) {
          const { value, done } = inner.next();
          if (!done) return value;
          inner = undefined;
        }
        const { value, done } = outer.next();
        if (done) return undefined;
        if (!(Symbol.iterator in value)) return value;
        inner = value[Symbol.iterator]();
      }
    },
    onMore: undefined,
    close: () => {
      inner?.return?.();
      outer.return?.();
    },
  };
}
