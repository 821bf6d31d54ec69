/** Asks a person at a terminal for something that must not be seen there. */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";

/** One line, without echo; undefined after ^C or ^D. */
export function askSecret(
  question: string,
  input: NodeJS.ReadStream,
  terminal: NodeJS.WriteStream,
): Promise<string | undefined> {
  // What is typed goes here instead of to the terminal, which echoes nothing itself while lines are edited.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const readline = createInterface({ input, output: nowhere, terminal: true, historySize: 0 });
  // Not before: until here the terminal would show what is typed.
  terminal.write(question);
  return new Promise((resolve) => {
    let answer: string | undefined;
    readline.once("line", (line) => {
      answer = line;
      readline.close();
    });
    readline.once("SIGINT", () => readline.close());
    readline.once("close", () => {
      terminal.write("\n");
      input.pause();
      resolve(answer);
    });
  });
}
