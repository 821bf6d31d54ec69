import t from "tap";
import { assertArgumentsAreText } from "../../src/cli/argument-bytes.ts";

/** The arguments, as Node has them, of a process with these bytes. */
function check(...args: readonly (string | Buffer)[]): void {
  const raw = Buffer.concat(["node", "run.js", ...args].flatMap((arg) => [Buffer.from(arg), Buffer.of(0)]));
  assertArgumentsAreText(
    args.map((arg) => arg.toString()),
    () => raw,
  );
}

t.test("bytes that are not UTF-8 are refused by what can be shown of them", async (t) => {
  t.throws(() => check("send", Buffer.from("bad\xff", "latin1"), "--to", "nas"), {
    code: "E_USAGE",
    message: "'bad\ufffd' holds bytes that are not UTF-8, and is no argument",
    hint: /--files-from/,
  });
  t.throws(() => check("--name", Buffer.from([0xed, 0xa0, 0x80])), { code: "E_USAGE" }, "a surrogate in three bytes");
});

t.test("anything else is an argument", async (t) => {
  check("send", "\ufffd", "é", "a\nb", "");
  // Without a way to see the bytes.
  assertArgumentsAreText(["\ufffd"], () => {
    throw new Error("no such file");
  });
  // And they are not looked at where there is no need.
  assertArgumentsAreText(["plain"], () => {
    throw t.fail("looked");
  });
});
