/**
 * Keys on a terminal while a command works. The terminal is then in raw mode, where ^C and ^Z are keys too: they do what
 * they always do. Whatever ends the process, the terminal gets its mode back.
 */
import { readFileSync } from "node:fs";
import type { ReadStream } from "node:tty";
import type { Interrupts } from "./interrupts.ts";

const INTERRUPT = "\x03";
/** What a terminal makes of ^Z and ^\\. */
const SIGNALS: Readonly<Record<string, NodeJS.Signals>> = { "\x1a": "SIGTSTP", "\x1c": "SIGQUIT" };

/** How often it is looked whether the terminal has become ours. */
const LOOK_MS = 500;

/**
 * Hands over what is typed, key by key, until the function that is returned is called. Nothing happens, and nothing is
 * read, where standard input is no terminal, or where it belongs to another program: this one runs in the background.
 */
export function watchKeys(
  stdin: Pick<ReadStream, "isTTY" | "isRaw" | "setRawMode" | "on" | "off" | "pause" | "resume">,
  interrupts: Pick<Interrupts, "raise">,
  onKey: (key: string) => void,
  ownsTerminal: () => boolean = isForeground,
): () => void {
  if (!stdin.isTTY) return () => {};
  let listening = false;
  const onData = (data: Buffer) => {
    for (const key of data.toString("latin1")) {
      const signal = SIGNALS[key];
      if (key === INTERRUPT) interrupts.raise("SIGINT");
      else if (signal !== undefined) {
        end();
        // To all who share the terminal with us, as it would.
        process.kill(0, signal);
      } else onKey(key);
    }
  };
  const begin = () => {
    if (listening || !ownsTerminal()) return;
    listening = true;
    // Where it was left in raw mode, it may not be any more.
    if (stdin.isRaw) stdin.setRawMode(false);
    stdin.setRawMode(true);
    stdin.on("data", onData);
    stdin.resume();
  };
  const end = () => {
    if (!listening) return;
    listening = false;
    stdin.off("data", onData);
    stdin.pause();
    if (ownsTerminal()) stdin.setRawMode(false);
  };
  // The shell has set the terminal as it likes it, and may have kept it.
  const onContinued = () => {
    end();
    begin();
  };
  // The terminal went away: others see to that.
  const onError = () => {};
  stdin.on("error", onError);
  process.on("SIGCONT", onContinued);
  // A shell that takes a running job back from the background says nothing.
  const looker = setInterval(begin, LOOK_MS).unref();
  process.once("exit", end);
  begin();
  return () => {
    clearInterval(looker);
    end();
    process.off("SIGCONT", onContinued);
    process.off("exit", end);
    stdin.off("error", onError);
  };
}

/**
 * Whether the terminal is this program's: one in the background that touches it is stopped by the system. Linux tells it
 * (proc_pid_stat(5): pgrp and tpgid); where nobody does, keys are left alone.
 */
export function isForeground(): boolean {
  try {
    const stat = readFileSync("/proc/self/stat", "utf8");
    // The name of the program, in parentheses, may hold anything.
    const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return group === foreground;
  } catch {
    return false;
  }
}
