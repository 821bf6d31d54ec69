import { Command } from "@oclif/core/command";
import { boolean, string } from "@oclif/core/flags";
import t from "tap";
import { filterRulesOf } from "../../src/cli/filter-flags.ts";

t.test("the rules stand in the order of the command line", async (t) => {
  t.strictSame(
    filterRulesOf([
      { type: "arg", input: "--exclude" },
      { type: "flag", flag: "exclude", input: "*.o" },
      { type: "flag", flag: "to", input: "nas" },
      { type: "flag", flag: "exclude-from", input: "list" },
      { type: "flag", flag: "include", input: "keep.o" },
      { type: "flag", flag: "exclude", input: "*.o" },
    ]),
    [{ exclude: "*.o" }, { excludeFrom: "list" }, { include: "keep.o" }, { exclude: "*.o" }],
  );
  t.strictSame(filterRulesOf([]), []);
});

t.test("as oclif's own parser gives them", async (t) => {
  class Sends extends Command {
    static override strict = false;
    static override flags = {
      include: string({ multiple: true, multipleNonGreedy: true }),
      exclude: string({ multiple: true, multipleNonGreedy: true }),
      "exclude-from": string({ multiple: true, multipleNonGreedy: true }),
      verbose: boolean({ char: "v" }),
    };
    override async run() {
      return this.parse(Sends);
    }
  }
  const argv = [
    "--exclude",
    "*.o",
    "photos",
    "--include=a b",
    "-v",
    "--exclude-from",
    "x",
    "--exclude=!y",
    "--",
    "--include",
  ];
  const { raw, argv: operands } = await new Sends(argv, {
    bin: "hawser",
    runHook: async () => ({ successes: [], failures: [] }),
  } as never).run();
  t.strictSame(filterRulesOf(raw), [{ exclude: "*.o" }, { include: "a b" }, { excludeFrom: "x" }, { exclude: "!y" }]);
  t.strictSame(operands, ["photos", "--include"]);
});
