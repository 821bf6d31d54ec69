/**
 * Sizes, rates and durations as people write them, and as numbers: `1MiB` and 1,048,576 bytes, `30s` and 30,000 ms.
 * Pure functions; what can't be read is `undefined`, and the caller says where it stood.
 */

/** What an error text says of a size. */
export const SIZE_EXPECTED = "a size in bytes, such as 65536, 512k, 4MiB (1024-based) or 10MB (1000-based)";
/** What an error text says of a duration. */
export const DURATION_EXPECTED = "a duration, such as 500ms, 30s, 5m, 2h or 7d (a bare number is seconds)";

const POWERS: Record<string, number> = { k: 1, m: 2, g: 3, t: 4 };

/**
 * Bytes. `k`, `K`, `KiB` are 1024; `kB`, `KB` are 1000; likewise M, G, T. `Kb` and `Kbit` are bits to some and bytes to
 * others, so they are refused.
 */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([kmgt]?)(iB|ib|B)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const [, digits = "", letter = "", unit = ""] = match;
  if (letter === "" && /^i/i.test(unit)) return undefined;
  // The last letter tells bytes from bits: `10Mb` is refused; `10Mib` has no second meaning in use.
  if (unit === "b") return undefined;
  const base = unit === "B" ? 1000 : 1024;
  const bytes = Math.round(Number(digits) * base ** (POWERS[letter.toLowerCase()] ?? 0));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** What an error text says of a rate. */
export const RATE_EXPECTED =
  "a rate in bytes a second, such as 10MiB, 500k or 10MB, or in bits, such as 80Mbit; 0 or off for no limit";

/** Bytes a second; `null` is no limit. Bits are written `bit`, 1000-based: of `10Mb` and `10Mbps` nobody knows what they are. */
export function parseRate(text: string): number | null | undefined {
  const amount = text.trim().replace(/ ?\/s$/i, "");
  if (/^(off|none|0)$/i.test(amount)) return null;
  const bits = /^(\d+(?:\.\d+)?) ?([kmgt]?)bits?$/i.exec(amount);
  if (bits === null) return parseSize(amount);
  const [, digits = "", letter = ""] = bits;
  const bytes = Math.round((Number(digits) * 1000 ** (POWERS[letter.toLowerCase()] ?? 0)) / 8);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const DURATION_UNITS_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds; a bare number is seconds. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)?$/.exec(text.trim());
  if (match === null) return undefined;
  const [, digits = "", unit = "s"] = match;
  const ms = Math.round(Number(digits) * (DURATION_UNITS_MS[unit] as number));
  return Number.isSafeInteger(ms) ? ms : undefined;
}

/** A whole number in decimal digits. */
export function parseWhole(text: string): number | undefined {
  const trimmed = text.trim();
  if (!/^\d+$/.test(trimmed)) return undefined;
  const number = Number(trimmed);
  return Number.isSafeInteger(number) ? number : undefined;
}
