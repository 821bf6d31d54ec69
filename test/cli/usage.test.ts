import t from "tap";
import { formatBug, formatFailure, reportOf, UsageError } from "../../src/cli/errors.ts";
import { closest } from "../../src/cli/suggest.ts";
import { assertNoSwitchHasValue, usageErrorOf } from "../../src/cli/usage.ts";
import { HawserError } from "../../src/protocol/errors.ts";

const CONTEXT = { command: "send", flags: ["streams", "to", "json"] };
const parserError = (fields: object) => Object.assign(new Error("Nonexistent flag"), { oclif: { exit: 2 }, ...fields });

t.test("the parser's errors, in our words", async (t) => {
  const flag = usageErrorOf(parserError({ flags: ["--stream"] }), CONTEXT);
  t.equal(flag?.message, "send has no flag --stream");
  t.equal(flag?.hint, "Did you mean --streams? See `hawser send --help`.");
  t.equal(flag?.exitCode, 2);
  t.equal(usageErrorOf(parserError({ flags: ["-x"] }), CONTEXT)?.hint, "See `hawser send --help`.");
  t.equal(usageErrorOf(parserError({ args: ["b"] }), CONTEXT)?.message, "send does not expect 'b'");
  t.equal(
    usageErrorOf(parserError({ args: [{ name: "path" }] }), CONTEXT)?.message,
    "send needs PATH, which is missing",
  );
  const value = Object.assign(new Error("Flag --to expects a value\nmore"), { oclif: { exit: 2 } });
  t.equal(usageErrorOf(value, CONTEXT)?.message, "send: --to expects a value");
});

t.test("a switch that is given a value", async (t) => {
  const flags = { insecure: { type: "boolean" }, resume: { type: "boolean" }, to: { type: "option" } } as const;
  const check = (...argv: string[]) => assertNoSwitchHasValue(argv, { command: "send", flags });
  t.throws(() => check("file", "--insecure=false"), {
    code: "E_USAGE",
    message: "send: --insecure takes no value",
    hint: "Give --insecure alone, or leave it out.",
  });
  t.throws(() => check("--no-resume=1", "file"), { message: "send: --no-resume takes no value" });
  check("--insecure", "file", "--to=host", "--unknown=1", "--no-such=1");
  check("--to", "--insecure=false");
  check("--", "--insecure=false");
});

t.test("anything else is not the user's", async (t) => {
  t.equal(usageErrorOf(new TypeError("x"), CONTEXT), undefined);
  t.equal(usageErrorOf("x", CONTEXT), undefined);
});

t.test("suggestions", async (t) => {
  const known = ["serve", "send", "shell", "history", "bench", "demo"];
  t.equal(closest("snd", known), "send");
  t.equal(closest("sevre", known), "serve");
  t.equal(closest("hist", known), "history");
  t.equal(closest("upload", known), undefined);
  t.equal(closest("", known), undefined);
});

t.test("how errors are said", async (t) => {
  const error = new UsageError("a\u001b[2Jb", "Do this.", "E_CONFIG");
  t.equal(formatFailure(reportOf(error)), "hawser: a\\u{1b}[2Jb (E_CONFIG)\n  Do this.\n");
  t.equal(error.exitCode, 78);
  t.equal(new UsageError("x").hint, "Correct what the message names; --help after the command says what it takes.");
  t.equal(formatFailure({ code: "E_IO", message: "m", hint: "" }), "hawser: m (E_IO)\n");
  t.same(reportOf(new HawserError("E_BUSY", "m")).retryable, true);
  t.match(formatBug(new TypeError("x"), "1.2.3"), /^hawser 1\.2\.3: a bug.*\nTypeError: x\n +at /);
});
