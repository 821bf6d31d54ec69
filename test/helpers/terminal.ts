/** A command in a terminal of its own, by Python's pty module: Node has none. */
import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";

const DRIVER = fileURLToPath(new URL("./in-terminal.py", import.meta.url));

interface Modes {
  readonly ICANON: boolean;
  readonly ECHO: boolean;
  readonly ISIG: boolean;
}

export interface Terminal {
  type(keys: string): void;
  hangUp(): void;
  /** Resolves when what was shown since the last match matches. */
  shown(pattern: RegExp): Promise<void>;
  readonly ended: Promise<{
    readonly code: number;
    readonly before: Modes;
    readonly after: Modes;
    readonly text: string;
  }>;
}

/** Why there can be no terminal here; undefined where there can. */
export function noTerminal(): string | undefined {
  const { error, status } = spawnSync("python3", ["-c", "import pty, os; os.waitstatus_to_exitcode"]);
  return error === undefined && status === 0 ? undefined : "no Python 3.9 with its pty module is here";
}

export function inTerminal(t: Test, command: readonly string[], env: Record<string, string> = {}): Terminal {
  const child = spawn("python3", [DRIVER, ...command], {
    env: { ...process.env, TERM: "xterm", XDG_CONFIG_HOME: "/dev/null", ...env },
    stdio: "pipe",
  });
  let text = "";
  let from = 0;
  let report = "";
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const look of [...waiting]) look();
  };
  child.stdin.on("error", () => {});
  child.stdout.on("data", (data: Buffer) => {
    text += data.toString();
    wake();
  });
  child.stderr.on("data", (data: Buffer) => {
    report += data.toString();
  });
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
  void closed.then(wake);
  t.teardown(async () => {
    // The command gets a hangup with it.
    if (child.exitCode === null) child.kill("SIGKILL");
    await closed;
  });
  return {
    type: (keys) => void child.stdin.write(keys),
    hangUp: () => void child.stdin.end(),
    shown: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(text.slice(from));
          if (match === null && child.exitCode === null) return;
          waiting.delete(look);
          if (match === null) reject(new Error(`it ended without showing ${pattern}: ${text.slice(from)}`));
          else {
            from += match.index + match[0].length;
            resolve();
          }
        };
        waiting.add(look);
        look();
      }),
    ended: closed.then(() => ({ ...JSON.parse(report), text })),
  };
}
