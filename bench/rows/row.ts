/** What a row is made of, and what it comes to. */
import type { Line } from "../lib/report.ts";

export interface Context {
  readonly rounds: number;
  /** Of the file that is sent. */
  readonly bytes: number;
  readonly streams: number;
  /** How long the loopback row runs each program. */
  readonly seconds: number;
  /** Progress, for people. */
  readonly say: (text: string) => void;
}

/** A claim with what came out. */
export interface Goal {
  readonly text: string;
  readonly met: boolean;
}

export interface RowResult {
  readonly title: string;
  /** The table, and what to know beside it. */
  readonly text: string;
  readonly lines: readonly Line[];
  readonly goals: readonly Goal[];
  /** Programs that could not take part, and why. */
  readonly missing: readonly string[];
  /** What has no place in the table. */
  readonly more?: Record<string, unknown>;
}

/** Throws where a program that is there fails or delivers something wrong. */
export type Row = (context: Context) => Promise<RowResult>;
