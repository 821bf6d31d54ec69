/** A row's numbers as a table and as JSON. */
import type { Measured, Sample } from "./rounds.ts";
import { medianOf, ratios, type Summary, summarise } from "./stats.ts";
import { type Column, table } from "./table.ts";

const GIB = 1024 ** 3;

/** What is compared: the rate where all take the same time, the time where all move the same bytes. */
export type Quantity = "rate" | "time";

export interface Line {
  readonly name: string;
  readonly quantity: Quantity;
  /** GiB/s or seconds. */
  readonly summary: Summary;
  /** To the baseline, round by round; missing for the baseline itself and where there is none. */
  readonly ratio?: Summary;
  readonly cpuSecondsPerGib: { readonly client: number | null; readonly server: number | null };
  readonly samples: readonly Sample[];
}

export function linesOf(measured: readonly Measured[], quantity: Quantity, baseline: string): Line[] {
  const values = ({ samples }: Measured) => samples.map((sample) => quantityOf(sample, quantity));
  const base = measured.find(({ name }) => name === baseline);
  return measured.map((one) => ({
    name: one.name,
    quantity,
    summary: summarise(values(one)),
    ...(base === undefined || base === one ? {} : { ratio: summarise(ratios(values(one), values(base))) }),
    cpuSecondsPerGib: { client: cpuOf(one.samples, "client"), server: cpuOf(one.samples, "server") },
    samples: one.samples,
  }));
}

/** The ratio of two lines, round by round; undefined where one of them is missing. */
export function ratioOf(lines: readonly Line[], name: string, other: string): Summary | undefined {
  const [a, b] = [name, other].map((wanted) => lines.find((line) => line.name === wanted));
  if (a === undefined || b === undefined) return undefined;
  const values = ({ samples, quantity }: Line) => samples.map((sample) => quantityOf(sample, quantity));
  return summarise(ratios(values(a), values(b)));
}

export function reportTable(lines: readonly Line[], baseline: string): string {
  const quantity = lines[0]?.quantity ?? "time";
  const what = quantity === "rate" ? "GiB/s" : "seconds";
  const columns: Column[] = [
    { title: "program" },
    { title: `${what}, median`, align: "right" },
    { title: "min–max", align: "right" },
    { title: `÷ ${baseline}, median`, align: "right" },
    { title: "min–max", align: "right" },
    { title: "CPU s/GiB client", align: "right" },
    { title: "server", align: "right" },
  ];
  const rows = lines.map(({ name, summary, ratio, cpuSecondsPerGib: { client, server } }) => [
    name,
    figure(summary.median),
    range(summary),
    ratio === undefined ? (name === baseline ? "1" : "") : figure(ratio.median),
    ratio === undefined ? "" : range(ratio),
    client === null ? "" : figure(client),
    server === null ? "" : figure(server),
  ]);
  return table(columns, rows);
}

export const figure = (value: number) => value.toFixed(2);
export const range = ({ min, max }: Summary) => `${figure(min)}–${figure(max)}`;

function quantityOf({ seconds, bytes }: Sample, quantity: Quantity): number {
  return quantity === "rate" ? bytes / GIB / seconds : seconds;
}

function cpuOf(samples: readonly Sample[], end: "client" | "server"): number | null {
  return medianOf(
    samples.map(({ cpu, bytes }) => {
      const seconds = cpu[end];
      return seconds === null ? null : seconds / (bytes / GIB);
    }),
  );
}
