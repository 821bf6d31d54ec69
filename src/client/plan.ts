/** What the user named, as the files that a transfer offers: each with its name at the destination. */
import { basename } from "node:path";
import { asHawserError, type Failure, HawserError } from "../protocol/errors.ts";
import { displayName, nameRefusal } from "../protocol/names.ts";
import { FileItem } from "../source/item.ts";

export interface Plan {
  readonly items: readonly FileItem[];
  /** Files that can't be sent, found before anything is. */
  readonly refused: readonly { readonly name: string; readonly failure: Failure }[];
}

export interface PlanOptions {
  readonly paths: readonly string[];
  readonly into?: string | undefined;
  readonly name?: string | undefined;
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
    const target = [into?.replace(/\/+$/, ""), name ?? basename(path)].filter((part) => part).join("/");
    const before = byName.get(target);
    if (before !== undefined) {
      throw new HawserError("E_USAGE", `'${before}' and '${path}' would both be named '${target}' at the destination`);
    }
    byName.set(target, path);
    try {
      // What no server takes is said here; what only this server's platform can't hold, it says itself.
      const refusal = nameRefusal(Buffer.from(target), "posix");
      if (refusal !== undefined) {
        throw new HawserError("E_NAME", `the name '${displayName(Buffer.from(target))}' is refused: ${refusal}`);
      }
      items.push(new FileItem(path, Buffer.from(target)));
    } catch (thrown) {
      refused.push({ name: displayName(Buffer.from(target)), failure: asHawserError(thrown).toFailure() });
    }
  }
  return { items, refused };
}
