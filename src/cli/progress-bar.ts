/**
 * Progress as bars on a terminal: one for the whole, and a line for each stream where there is room. Draws with
 * cli-progress; rates and times come with the events, since its own count updates and not time.
 */
import { moveCursor } from "node:readline";
import { MultiBar, type SingleBar } from "cli-progress";
import { escapeText } from "../protocol/names.ts";
import { formatBytes, formatEta, formatPercent, formatRate } from "./format.ts";
import { limitText, PHASES, type Progress, type ProgressView, progressText, stallText } from "./progress-view.ts";

/** Drawn this often at most; a terminal over a slow line can't take more. */
const FRAMES_PER_SECOND = 8;

/** What waits to be written beside the bars, at most: many small files must not make them flicker. */
const ASIDE_MAX = 256;

export function barProgress(terminal: NodeJS.WriteStream): ProgressView {
  let screen: Screen | undefined;
  let waiting: (() => void)[] = [];
  const clear = () => {
    screen?.clear();
    screen = undefined;
    const writes = waiting;
    waiting = [];
    for (const write of writes) write();
  };
  const onResize = () => screen?.resized();
  // A process that ends in any way gives the cursor and line wrapping back.
  process.once("exit", clear);
  terminal.on("resize", onResize);
  return {
    show(event) {
      if (event.type !== "progress") return;
      if (waiting.length > 0) clear();
      screen ??= new Screen(terminal, event);
      screen.update(event);
    },
    aside(write) {
      waiting.push(write);
      if (screen === undefined || waiting.length >= ASIDE_MAX) clear();
    },
    stop() {
      clear();
      terminal.off("resize", onResize);
      process.off("exit", clear);
    },
  };
}

/** What stands on the terminal between two interruptions. */
class Screen {
  readonly #terminal: NodeJS.WriteStream;
  #latest: Progress;
  #bars: MultiBar;
  /** The total, then the streams. */
  #lines: SingleBar[] = [];
  /** Characters that each line took when it was last drawn. */
  #widths: number[] = [];

  constructor(terminal: NodeJS.WriteStream, first: Progress) {
    this.#terminal = terminal;
    this.#latest = first;
    this.#bars = this.#draw();
  }

  update(event: Progress): void {
    this.#latest = event;
    if (this.#lines.length < this.#linesWanted()) this.#addLines();
    for (const line of this.#lines) line.update(event.bytesDone);
  }

  clear(): void {
    this.#bars.stop();
  }

  /** Lines longer than the new width were broken by the terminal: what was drawn begins that many rows higher. */
  resized(): void {
    const columns = this.#columns;
    const extraRows = this.#widths.reduce((sum, width) => sum + Math.max(0, Math.ceil(width / columns) - 1), 0);
    if (extraRows > 0) moveCursor(this.#terminal, 0, -extraRows);
    this.clear();
    this.#bars = this.#draw();
  }

  get #columns(): number {
    return this.#terminal.columns ?? 80;
  }

  /** Lines above the top of the window can't be drawn over: without room for all streams there is the total alone. */
  #linesWanted(): number {
    const streams = this.#latest.streamBytes.length;
    return streams < 2 || streams + 2 > (this.#terminal.rows ?? 24) ? 1 : streams + 1;
  }

  #draw(): MultiBar {
    this.#lines = [];
    this.#widths = [];
    this.#bars = new MultiBar({
      stream: this.#terminal,
      clearOnComplete: true,
      hideCursor: true,
      linewrap: false,
      fps: FRAMES_PER_SECOND,
      // It would swallow ^C.
      gracefulExit: false,
      format: (_options, _params, { index }: { index: number }) => this.#line(index),
    });
    this.#addLines();
    return this.#bars;
  }

  #addLines(): void {
    while (this.#lines.length < this.#linesWanted()) {
      this.#lines.push(this.#bars.create(1, 0, { index: this.#lines.length }));
    }
  }

  #line(index: number): string {
    const columns = this.#columns;
    const line = index === 0 ? totalLine(this.#latest, columns) : streamLine(index - 1, this.#latest, columns);
    this.#widths[index] = line.length;
    return line;
  }
}

/** `▕██████░░░░▏ 30%  1.20 GiB of 4.00 GiB  812 MiB/s  4 s left`, as far as it fits. */
export function totalLine(event: Progress, columns: number): string {
  const { phase, bytesDone, bytesTotal, filesDone, filesTotal, bytesPerSecond, etaMs } = event;
  if (phase === "connecting") return cut(PHASES[phase], columns);
  if (event.stall !== null) {
    const shown = bytesTotal === null ? formatBytes(bytesDone) : formatPercent(bytesDone, bytesTotal);
    return cut(`${shown}  ${escapeText(stallText(event.stall))}`, columns);
  }
  if (bytesTotal === null) return cut(progressText(event), columns);
  const parts = [
    formatPercent(bytesDone, bytesTotal).padStart(4),
    ...(phase === "sending" ? [formatRate(bytesPerSecond) + limitText(event)] : [PHASES[phase]]),
    ...(etaMs === null || phase !== "sending" ? [] : [`${formatEta(etaMs)} left`]),
    `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`,
    ...(filesTotal > 1 ? [`${filesDone} of ${filesTotal} files`] : []),
  ];
  return withBar(fraction(bytesDone, bytesTotal), parts, columns);
}

/** What one stream has carried, drawn as its share of the whole: together the streams' bars are as long as the total. */
export function streamLine(index: number, event: Progress, columns: number): string {
  const bytes = event.streamBytes[index] ?? 0;
  const share = event.bytesTotal === null ? 0 : fraction(bytes, event.bytesTotal);
  return withBar(share, [String(index + 1).padStart(4), formatBytes(bytes)], columns);
}

const fraction = (done: number, total: number) => (total === 0 ? 1 : Math.min(1, done / total));

/** Never as wide as the window: the last column wraps on some terminals. */
function withBar(share: number, parts: readonly string[], columns: number): string {
  const width = Math.max(6, Math.min(30, Math.floor(columns / 3)));
  const filled = Math.round(share * width);
  let line = "█".repeat(filled) + "░".repeat(width - filled);
  for (const part of parts) {
    if (line.length + 2 + part.length >= columns) break;
    line += `  ${part}`;
  }
  return cut(line, columns);
}

const cut = (text: string, columns: number) => text.slice(0, Math.max(1, columns - 1));
