import t from "tap";
import { againText, spooledText } from "../../src/cli/again.ts";
import { SendCommand } from "../../src/commands/send.ts";

const commandOf = (argv: string[]) => spooledText(argv, "/tmp/the spool/a", SendCommand.flags).split("\n")[1]?.trim();

t.test("the same command", async (t) => {
  t.match(againText(["a b", "--to", "nas"]), /\n {2}hawser send 'a b' --to nas\n$/);
});

t.test("the copy stands in for standard input, and what is about standard input alone is left out", async (t) => {
  const rm = "&& rm '/tmp/the spool/a'";
  for (const [argv, words] of [
    [["-", "--name", "n", "--spool", "/tmp", "--to", "nas"], "'/tmp/the spool/a' --name n --to nas"],
    [["--spool=/tmp", "--expect-bytes=1k", "--expect-crc32", "00000000", "-", "-q"], "'/tmp/the spool/a' -q"],
    [["--name", "-", "-"], "--name - '/tmp/the spool/a'"],
    [["--exclude", "-", "-"], "--exclude - '/tmp/the spool/a'"],
    [["-P", "2", "--parallel", "3", "--", "-"], "-P 2 --parallel 3 -- '/tmp/the spool/a'"],
  ] as const) {
    t.equal(commandOf([...argv]), `hawser send ${words} ${rm}`);
  }
});
