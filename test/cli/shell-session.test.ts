import t from "tap";
import { ShellSession, SUCCESS } from "../../src/cli/shell-session.ts";
import type { TransferResult } from "../../src/client/types.ts";
import { fakeOutput, REFUSED, RESULT } from "./fakes.ts";

function shell(results: TransferResult[] = []) {
  const output = fakeOutput();
  const asked: string[] = [];
  const session = new ShellSession({
    to: { host: "127.0.0.1", port: 23300 },
    streams: 4,
    streamsMax: 64,
    lookAt: async (path) => (path.includes("missing") ? `there is no file '${path}'` : undefined),
    out: output.out,
    err: output.err,
    transfer: async (path, to, streams) => {
      asked.push(`${path} > ${to.host}:${to.port} x${streams}`);
      return results.shift() ?? RESULT;
    },
  });
  const type = async (...lines: string[]) => {
    for (const line of lines) await session.run(line);
  };
  return { session, output, asked, type };
}

t.test("a transfer, as asked for", async (t) => {
  const { session, output, asked, type } = shell();
  await type("file_name big file.iso", "count_threads 8", "server_url nas:99", "transfer_file");
  t.same(asked, ["big file.iso > nas:99 x8"]);
  t.equal(output.outText(), "Your file has been uploaded successfully!\n");
  t.equal(SUCCESS, "Your file has been uploaded successfully!");
  t.equal(output.errText(), "");
  t.equal(session.exitCode, 0);
});

t.test("defaults, white space, comments, quotes", async (t) => {
  const { asked, type } = shell();
  await type("", "   ", "# a comment", "  file_name\t a.bin  ", "transfer_file", "file_name ' a '", "transfer_file");
  await type(`file_name "it's"`, "transfer_file", "file_name '", "transfer_file");
  t.same(
    asked.map((line) => line.split(" > ")[0]),
    ["a.bin", " a ", "it's", "'"],
  );
  t.match(asked[0], "127.0.0.1:23300 x4");
});

t.test("what is wrong is said on standard error with what is expected, and the shell goes on", async (t) => {
  const cases: [string, RegExp][] = [
    [
      "bogus",
      /there is no command 'bogus'.*\n.*file_name, count_threads, server_url, transfer_file, status, help, exit/,
    ],
    ["toString", /there is no command 'toString'/],
    ["__proto__", /there is no command '__proto__'/],
    ["file_name", /file_name needs a value.*\n.*file_name NAME/],
    ["file_name missing.bin", /there is no file 'missing\.bin'/],
    ["count_threads", /count_threads needs a value/],
    ["count_threads 0", /'0' can't be used; it stays 4.*\n.*a whole number from 1 to 64/],
    ["count_threads many", /'many' can't be used/],
    ["server_url nas:0", /'nas:0' is no address.*\n.*HOST or HOST:PORT/],
    ["transfer_file now", /transfer_file takes no value/],
    ["file_name missing\u001b[2J", /missing\\u\{1b\}\[2J/],
  ];
  for (const [line, expected] of cases) {
    const { session, output, type } = shell();
    await type(line);
    t.match(output.errText(), expected, line);
    t.equal(output.outText(), "", `${line}: nothing on standard output`);
    t.equal(session.exitCode, 0, `${line}: no transfer was asked for`);
    t.notOk(session.ended);
  }
});

t.test("a file or server that was refused does not leave the one before in its place", async (t) => {
  const { session, asked, output, type } = shell();
  await type("file_name a.bin", "file_name missing.bin", "transfer_file");
  t.match(asked[0], /^missing\.bin >/, "the library is asked for the missing file, and refuses it");
  await type("server_url bad:port", "transfer_file");
  t.equal(asked.length, 1, "nothing goes to the server before");
  t.equal(session.exitCode, 2);
  t.match(output.errText(), /no server is set/);
  await type("server_url nas", "transfer_file");
  t.match(asked[1], "nas:23300");
  t.equal(session.exitCode, 0);
});

t.test("the exit code is the last transfer's", async (t) => {
  const { session, output, type } = shell([REFUSED, RESULT, REFUSED]);
  await type("transfer_file");
  t.equal(session.exitCode, 2, "without a file");
  await type("file_name a", "transfer_file");
  t.equal(session.exitCode, 69);
  await type("transfer_file");
  t.equal(session.exitCode, 0);
  await type("transfer_file", "bogus", "exit");
  t.equal(session.exitCode, 69);
  t.ok(session.ended);
  t.equal(output.outText(), `${SUCCESS}\n`, "one success, one line");
});

t.test("status and help go to standard error", async (t) => {
  const { output, type } = shell([REFUSED, RESULT]);
  await type("status", "file_name a", "transfer_file", "status", "transfer_file", "status", "help");
  t.equal(output.outText(), `${SUCCESS}\n`);
  const text = output.errText();
  t.match(text, /file_name +not set\ncount_threads +4\nserver_url +127\.0\.0\.1:23300\nlast transfer +none\n/);
  t.match(text, /last transfer +failed: 127\.0\.0\.1:1 can't be reached: nothing listens there \(E_UNREACHABLE\)\n/);
  t.match(text, /last transfer +committed, 256 MiB in 1\.23 s\n/);
  for (const usage of ["file_name NAME", "count_threads N", "server_url HOST[:PORT]", "transfer_file", "exit"]) {
    t.ok(text.includes(usage), usage);
  }
});
