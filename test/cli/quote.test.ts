import { spawnSync } from "node:child_process";
import t from "tap";
import { shellQuote } from "../../src/cli/quote.ts";

const WORDS = [
  "plain.txt",
  "",
  "two words",
  "it's",
  '"',
  "$HOME",
  "`id`",
  "a\\b",
  "*",
  "-n",
  "~",
  "naïve",
  "a\nb",
  "\u001b[31mred'\\7",
  "a\u202eb",
  "a\u061c\u00ad\u{e0041}b",
];

t.test("what needs no quotes has none", async (t) => {
  t.equal(shellQuote("/srv/big-file_1.iso"), "/srv/big-file_1.iso");
  t.equal(shellQuote("two words"), "'two words'");
  t.equal(shellQuote("it's"), `'it'\\''s'`);
});

t.test("no control character reaches the terminal", async (t) => {
  for (const word of WORDS) t.notMatch(shellQuote(word), /[\p{Cc}\p{Cf}]/u, JSON.stringify(word));
});

const bash = spawnSync("bash", ["-c", "true"]).status === 0;
t.test("a shell reads back the same words", { skip: bash ? false : "there is no bash here" }, async (t) => {
  const { stdout } = spawnSync("bash", ["-c", `printf '%s\\0' ${WORDS.map(shellQuote).join(" ")}`], {
    encoding: "utf8",
  });
  t.same(stdout.split("\0").slice(0, -1), WORDS);
});
