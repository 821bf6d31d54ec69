/** Numbers as people read them. Pure functions; every unit is written out, and nothing depends on the locale. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `0 B`, `1023 B`, `1.50 KiB`, `15.2 MiB`, `256 MiB`: three figures. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.5 would be shown as `1024`, which is the next unit's 1.00.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : threeFigures(value)} ${UNITS[unit]}`;
}

function threeFigures(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

/** `208 MiB/s`. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

/** `1.75 Gbit/s`: how networks are sold. */
export function formatBitRate(bytesPerSecond: number): string {
  let value = bytesPerSecond * 8;
  let unit = 0;
  const units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : threeFigures(value)} ${units[unit]}`;
}

/** `10.0 MiB/s (83.9 Mbit/s)`: a limit, so that bytes are not taken for bits. */
export function formatLimit(bytesPerSecond: number | null): string {
  return bytesPerSecond === null ? "no limit" : `${formatRate(bytesPerSecond)} (${formatBitRate(bytesPerSecond)})`;
}

/** `850 ms`, `1.23 s`, `12.3 s`, `2 min 03 s`, `1 h 02 min`, `6 d 23 h`. */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(ms < 9995 ? 2 : 1)} s`;
  return longDuration(ms);
}

/** Time left: whole seconds, since a guess has no fractions. */
export function formatEta(ms: number): string {
  return ms < 59_500 ? `${Math.max(1, Math.round(ms / 1000))} s` : longDuration(ms);
}

/** Two days: until then people count hours. */
const DAYS_FROM_MINUTES = 48 * 60;

function longDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes >= DAYS_FROM_MINUTES) {
    const hours = Math.round(minutes / 60);
    return `${formatCount(Math.floor(hours / 24))} d ${two(hours % 24)} h`;
  }
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

const two = (value: number) => String(value).padStart(2, "0");

/** `268,435,456`. */
export function formatCount(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 file`, `3 files`. */
export function plural(count: number, one: string): string {
  return `${formatCount(count)} ${one}${count === 1 ? "" : "s"}`;
}

/** `30%`; never 100% before the end, never 0 of 0. */
export function formatPercent(done: number, total: number): string {
  if (done >= total) return "100%";
  return `${Math.min(99, Math.floor((done / total) * 100))}%`;
}

/** `2026-11-22 15:46:01`, in the machine's time zone. */
export function formatLocalTime(ms: number): string {
  const date = new Date(ms);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
