/** The kinds of value that settings take: how each is read, what is said when it can't be, how it is shown. Pure. */
import type { Endpoint } from "../net/dial.ts";
import { formatEndpoint } from "../net/dial.ts";
import { parseNetwork } from "../net/network.ts";
import { ENDPOINT_EXPECTED, parseEndpoint, parseHost } from "./endpoint.ts";
import { formatBytes, formatCount, formatDuration, formatLimit, formatRate } from "./format.ts";
import {
  DURATION_EXPECTED,
  parseDuration,
  parseRate,
  parseSize,
  parseWhole,
  RATE_EXPECTED,
  SIZE_EXPECTED,
} from "./units.ts";

export interface ValueKind<T> {
  /** `a whole number from 1 to 64`. */
  readonly expected: string;
  /** `undefined` where the text can't be read at all; otherwise the value, or why it can't be taken. */
  read(text: string): { readonly value: T } | { readonly refused: string } | undefined;
  /** What was understood. */
  show(value: T): string;
}

const taken = <T>(value: T | undefined) => (value === undefined ? undefined : { value });

export function wholeNumber(min: number, max: number): ValueKind<number> {
  return {
    expected: `a whole number from ${min} to ${max}`,
    read(text) {
      const value = parseWhole(text);
      return value !== undefined && value >= min && value <= max ? { value } : undefined;
    },
    show: String,
  };
}

/** Or the word itself, which leaves it to the program. */
export function orAuto(kind: ValueKind<number>): ValueKind<number | "auto"> {
  return {
    expected: `auto, or ${kind.expected}`,
    read: (text) => (text === "auto" ? { value: "auto" } : kind.read(text)),
    show: String,
  };
}

/** Numbers with commas between, each once; `auto` stands for `automatic`. */
export function wholeNumbers(min: number, max: number, automatic: readonly number[]): ValueKind<readonly number[]> {
  return {
    expected: `whole numbers from ${min} to ${max} with commas between, or auto`,
    read(text) {
      if (text.trim().toLowerCase() === "auto") return { value: automatic };
      const list = text.split(",").map((one) => parseWhole(one.trim()));
      if (!list.every((one) => one !== undefined && one >= min && one <= max)) return undefined;
      return { value: [...new Set(list as number[])] };
    },
    show: (value) => value.join(", "),
  };
}

export interface SizeBounds {
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly stepBytes?: number;
}

export function size({
  minBytes = 0,
  maxBytes = Number.MAX_SAFE_INTEGER,
  stepBytes = 1,
}: SizeBounds): ValueKind<number> {
  const step = stepBytes === 1 ? "" : `, a multiple of ${formatBytes(stepBytes)}`;
  const bounds =
    maxBytes === Number.MAX_SAFE_INTEGER
      ? minBytes === 0
        ? ""
        : `, at least ${formatBytes(minBytes)}`
      : `, from ${formatBytes(minBytes)} to ${formatBytes(maxBytes)}`;
  return {
    expected: `${SIZE_EXPECTED}${bounds}${step}`,
    read(text) {
      const value = parseSize(text);
      if (value === undefined) return undefined;
      const fits = value >= minBytes && value <= maxBytes && value % stepBytes === 0;
      return fits ? { value } : { refused: `it is ${showBytes(value)}` };
    },
    show: showBytes,
  };
}

function showBytes(bytes: number): string {
  return bytes < 1024 ? `${bytes} bytes` : `${formatBytes(bytes)} (${formatCount(bytes)} bytes)`;
}

/** Below this a chunk takes longer than anybody waits, and what the protocol itself says would not fit. */
export const RATE_MIN = 1024;

/** Bytes a second; null: no limit. */
export const rate: ValueKind<number | null> = {
  expected: `${RATE_EXPECTED}; at least ${formatRate(RATE_MIN)}`,
  read(text) {
    const value = parseRate(text);
    if (value === undefined) return undefined;
    return value === null || value >= RATE_MIN ? { value } : { refused: `it is ${formatLimit(value)}` };
  },
  show: formatLimit,
};

/** The longest that Node's timers can wait. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export function duration(minMs: number, maxMs = TIMER_MS_MAX): ValueKind<number> {
  const most = maxMs === TIMER_MS_MAX ? "24d" : formatDuration(maxMs);
  return {
    expected: `${DURATION_EXPECTED}, from ${minMs === 0 ? "0" : formatDuration(minMs)} to ${most}`,
    read(text) {
      const value = parseDuration(text);
      if (value === undefined) return undefined;
      return value >= minMs && value <= maxMs ? { value } : { refused: `it is ${formatDuration(value)}` };
    },
    show: formatDuration,
  };
}

export const endpoint: ValueKind<Endpoint> = {
  expected: ENDPOINT_EXPECTED,
  read: (text) => taken(parseEndpoint(text)),
  show: formatEndpoint,
};

export const host: ValueKind<string> = {
  expected: "an address of this machine, such as 127.0.0.1, 0.0.0.0 or ::",
  read: (text) => taken(parseHost(text)),
  show: (value) => value,
};

export const networks: ValueKind<readonly string[]> = {
  expected: "addresses or networks such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32, with commas between",
  read(text) {
    const list = text.split(",").map((one) => one.trim());
    const wrong = list.find((one) => parseNetwork(one) === undefined);
    if (wrong === undefined) return { value: list };
    return list.length === 1 ? undefined : { refused: `'${wrong}' is none` };
  },
  show: (value) => value.join(", "),
};

export function choice<const T extends string>(...options: readonly T[]): ValueKind<T> {
  return {
    expected: `one of ${options.join(", ")}`,
    read: (text) => taken(options.find((option) => option === text.trim())),
    show: (value) => value,
  };
}

export const text: ValueKind<string> = {
  expected: "text",
  read: (value) => (value === "" ? undefined : { value }),
  show: (value) => value,
};

const SWITCH: Record<string, boolean> = {
  "1": true,
  true: true,
  yes: true,
  on: true,
  "0": false,
  false: false,
  no: false,
  off: false,
};

/** A CRC-32 as receipts show it. */
export const crc32: ValueKind<number> = {
  expected: "a CRC-32 as eight hexadecimal digits",
  read: (text) => (/^[0-9a-f]{8}$/i.test(text.trim()) ? { value: Number.parseInt(text, 16) } : undefined),
  show: (value) => value.toString(16).padStart(8, "0"),
};

export const onOff: ValueKind<boolean> = {
  expected: "1 or 0, true or false, yes or no, on or off",
  read: (value) => taken(SWITCH[value.trim().toLowerCase()]),
  show: (value) => (value ? "on" : "off"),
};
