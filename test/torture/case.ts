/** One case: its draws, its directory, what it counted, what went wrong, and the story to read when something did. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Draw } from "./draw.ts";

export const CAMPAIGNS = ["kills", "schedules", "cuts"] as const;
export type Campaign = (typeof CAMPAIGNS)[number];

/** `left-over part`, `lost` (a file that was acknowledged) and `wrong file` are what must never be. */
export type FailureKind = "wrong file" | "lost" | "left-over part" | "hung" | "other";

export interface Failure {
  readonly kind: FailureKind;
  readonly message: string;
}

export interface CaseReport {
  /** What happened how often, by what it is called in the summary. */
  readonly counts: Readonly<Record<string, number>>;
  readonly failures: readonly Failure[];
  readonly story: readonly string[];
}

/** What every case of a campaign needs. Plain data: it goes to the workers as it is. */
export interface Setting {
  readonly seed: number;
  /** In memory and on the disk: directories of this campaign alone. */
  readonly scratch: { readonly memory: string; readonly disk: string };
  /** The program as it was when the campaign began. */
  readonly program: { readonly script: string; readonly api: string };
  /** False where strace(1) is missing: then kills come at times and frames only. */
  readonly traces: boolean;
}

export class Case {
  readonly setting: Setting;
  readonly name: string;
  readonly draw: Draw;
  readonly dir: string;
  readonly #counts: Record<string, number> = {};
  readonly #failures: Failure[] = [];
  readonly #story: string[] = [];
  readonly #startedMs = performance.now();
  #isOver = false;
  readonly #endings: (() => void | Promise<void>)[] = [];

  constructor(setting: Setting, campaign: Campaign, number: number) {
    this.setting = setting;
    this.name = `${campaign}-${number}`;
    this.draw = new Draw(setting.seed, campaign, number);
    const isOnDisk = campaign === "kills" && this.draw.chance(0.15);
    this.dir = join(isOnDisk ? setting.scratch.disk : setting.scratch.memory, this.name);
    mkdirSync(this.dir, { recursive: true });
  }

  directory(name: string): string {
    const path = join(this.dir, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  note(text: string): void {
    this.#story.push(`${((performance.now() - this.#startedMs) / 1000).toFixed(3)} ${text}`);
  }

  count(what: string, times = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + times;
  }

  fail(kind: FailureKind, message: string): void {
    this.note(`FAILURE: ${kind}: ${message}`);
    // What a case that hung does while its programs are taken from it is no failure of theirs.
    if (this.#isOver) return;
    this.#failures.push({ kind, message });
  }

  /** Done when the case is over, however it ended; the last said first. */
  atEnd(work: () => void | Promise<void>): void {
    this.#endings.unshift(work);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    for (const work of this.#endings.splice(0)) await work();
  }

  get report(): CaseReport {
    return { counts: this.#counts, failures: this.#failures, story: this.#story };
  }
}
