/** Directories that are held for a batch, where descriptors run out. */
import t from "tap";
import { HawserError } from "../../src/protocol/errors.ts";
import { DirectoryCache } from "../../src/sink/directory-cache.ts";
import type { HeldDirectory } from "../../src/sink/held-directory.ts";
import { nameOf } from "../helpers/bytes.ts";

t.test("a directory that gave way, in vain, is opened again", (t) => {
  const opened: string[] = [];
  const tooMany = new HawserError("E_IO", "too many", { cause: Object.assign(new Error(), { code: "EMFILE" }) });
  const directory = () => {
    const held = { isClosed: false, close: () => (held.isClosed = true) };
    return held;
  };
  const root = {
    child: (name: Uint8Array) => {
      opened.push(Buffer.from(name).toString());
      if (opened.at(-1) === "b") throw tooMany;
      return directory();
    },
  } as unknown as HeldDirectory;
  const cache = new DirectoryCache(root);
  cache.find(nameOf("a"));
  // Twice: what is asked for again is found without a look.
  cache.find(nameOf("a"));
  t.throws(() => cache.find(nameOf("b")), tooMany);
  const found = cache.find(nameOf("a")) as unknown as ReturnType<typeof directory>;
  t.equal(found.isClosed, false);
  t.same(opened, ["a", "b", "b", "a"]);
  t.end();
});
