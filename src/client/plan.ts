/** What the user named, as the files that a transfer offers: each with its name at the destination. */
import { basename } from "node:path";
import { asHawserError, type Failure, HawserError } from "../protocol/errors.ts";
import { displayName, nameRefusal } from "../protocol/names.ts";
import { openInput } from "../source/input.ts";
import { FileItem, type SourceItem } from "../source/item.ts";
import { PipeItem } from "../source/pipe-item.ts";
import type { SendOptions } from "./types.ts";

export interface Plan {
  readonly items: readonly SourceItem[];
  /** Of all of them; null where it isn't known. */
  readonly bytes: number | null;
  /** Files that can't be sent, found before anything is. */
  readonly refused: readonly { readonly name: string; readonly failure: Failure }[];
}

export interface PlanOptions {
  readonly paths: readonly string[];
  readonly into?: string | undefined;
  readonly name?: string | undefined;
}

/** What `send` is asked for, as items. Throws as `planFiles` and `planInput` do. */
export function planItems(options: SendOptions): Plan {
  const { input, paths = [], expectBytes, expectCrc32 } = options;
  if (input !== undefined) return planInput(options);
  if (expectBytes !== undefined || expectCrc32 !== undefined) {
    throw new HawserError("E_USAGE", "what is expected is for what is piped in, and files are to be sent");
  }
  return planFiles({ ...options, paths });
}

/** One input that is read once. Throws E_USAGE, E_NAME and what `openInput` throws. */
function planInput(options: SendOptions): Plan {
  const { input = 0, expectBytes, expectCrc32 } = options;
  const expected = { bytes: expectBytes, crc32: expectCrc32 };
  const name = nameOfInput(options);
  const item = new PipeItem(openInput(input), name, expected, Date.now());
  return { items: [item], bytes: expectBytes ?? null, refused: [] };
}

/** At the destination. Throws E_USAGE, E_NAME. */
export function nameOfInput({ paths = [], into, name }: SendOptions): Uint8Array {
  if (name === undefined) throw new HawserError("E_USAGE", "what is piped in needs a name");
  if (paths.length > 0) throw new HawserError("E_USAGE", "what is piped in is sent alone, without files");
  return acceptable(pathBelow(into, name));
}

/** Looks at each path. Throws E_USAGE where what was asked for makes no sense as a whole. */
export function planFiles({ paths, into, name }: PlanOptions): Plan {
  if (paths.length === 0) throw new HawserError("E_USAGE", "no file was named");
  if (name !== undefined && paths.length > 1) {
    throw new HawserError("E_USAGE", `--name names one file, and ${paths.length} are to be sent`);
  }
  const items: FileItem[] = [];
  const refused: { name: string; failure: Failure }[] = [];
  const byName = new Map<string, string>();
  for (const path of paths) {
    const target = pathBelow(into, name ?? basename(path));
    const before = byName.get(target);
    if (before !== undefined) {
      throw new HawserError("E_USAGE", `'${before}' and '${path}' would both be named '${target}' at the destination`);
    }
    byName.set(target, path);
    try {
      items.push(new FileItem(path, acceptable(target)));
    } catch (thrown) {
      refused.push({ name: displayName(Buffer.from(target)), failure: asHawserError(thrown).toFailure() });
    }
  }
  return { items, bytes: items.reduce((sum, { size }) => sum + size, 0), refused };
}

const pathBelow = (into: string | undefined, name: string) =>
  [into?.replace(/\/+$/, ""), name].filter((part) => part).join("/");

/** What no server takes is said here; what only this server's platform can't hold, it says itself. Throws E_NAME. */
function acceptable(target: string): Uint8Array {
  const name = Buffer.from(target);
  const refusal = nameRefusal(name, "posix");
  if (refusal === undefined) return name;
  throw new HawserError("E_NAME", `the name '${displayName(name)}' is refused: ${refusal}`);
}
