import t from "tap";
import { sendSourceOf } from "../../src/cli/send-source.ts";
import type { Origin } from "../../src/cli/settings.ts";

const DEFAULT: Origin = { from: "default", place: "default" };
const ORIGINS = { spool: DEFAULT, expectBytes: DEFAULT, expectCrc32: DEFAULT };
const NOTHING = { name: undefined, filesFrom: undefined };

t.test("paths and lists", async (t) => {
  t.equal(sendSourceOf(["a", "b"], NOTHING, ORIGINS), "paths");
  t.equal(sendSourceOf(["./-"], { ...NOTHING, name: "x" }, ORIGINS), "paths");
  t.equal(sendSourceOf([], { ...NOTHING, filesFrom: "list" }, ORIGINS), "list");
  const environment: Origin = { from: "environment", place: "HAWSER_SPOOL" };
  t.equal(sendSourceOf(["a"], NOTHING, { ...ORIGINS, spool: environment }), "paths", "it was not said of this run");
});

t.test("what makes no sense together", async (t) => {
  const refused = (paths: string[], wishes: Partial<typeof NOTHING | { name: string; filesFrom: string }>) => {
    try {
      return sendSourceOf(paths, { ...NOTHING, ...wishes }, ORIGINS);
    } catch (error) {
      return (error as Error).message;
    }
  };
  t.match(refused([], {}), /needs PATH/);
  t.match(refused(["a", "b"], { name: "x" }), /renames one file or directory, and 2 are given/);
  t.match(refused(["a"], { filesFrom: "list" }), /and so does PATH/);
  t.match(refused(["-"], { filesFrom: "list" }), /and so does PATH/);
  t.match(refused([], { filesFrom: "list", name: "x" }), /--files-from is a list/);
  t.match(refused(["-", "a"], { name: "x" }), /sent alone/);
  t.match(refused(["-"], {}), /needs a name/);
  const flag: Origin = { from: "flag", place: "--spool" };
  for (const [paths, filesFrom] of [
    [["a"], undefined],
    [[], "list"],
  ] as const) {
    const wishes = { name: undefined, filesFrom };
    t.throws(() => sendSourceOf(paths, wishes, { ...ORIGINS, spool: flag }), { message: /--spool is about/ });
  }
});
