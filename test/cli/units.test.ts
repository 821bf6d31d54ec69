import t from "tap";
import { parseDuration, parseRate, parseSize, parseWhole } from "../../src/cli/units.ts";

t.test("sizes", async (t) => {
  const sizes: [string, number][] = [
    ["0", 0],
    ["65536", 65536],
    ["512B", 512],
    ["1k", 1024],
    ["1K", 1024],
    ["1KiB", 1024],
    ["1kib", 1024],
    ["1kB", 1000],
    ["1KB", 1000],
    ["1M", 1024 ** 2],
    ["1MiB", 1024 ** 2],
    ["1 MiB", 1024 ** 2],
    ["10MB", 10_000_000],
    ["1.5G", 1.5 * 1024 ** 3],
    ["2T", 2 * 1024 ** 4],
    ["1TB", 1e12],
  ];
  for (const [text, bytes] of sizes) t.equal(parseSize(text), bytes, text);
  for (const text of [
    "",
    "k",
    "-1",
    "1e6",
    "1Mb",
    "1kb",
    "1Mbit",
    "512b",
    "1iB",
    "1.k",
    "0x10",
    "1 M B",
    "9007199254740993",
    "1P",
  ]) {
    t.equal(parseSize(text), undefined, `'${text}' is refused`);
  }
});

t.test("rates: bytes or bits, a second", async (t) => {
  const rates: [string, number | null][] = [
    ["10MiB", 10 * 1024 ** 2],
    ["10MiB/s", 10 * 1024 ** 2],
    ["10 MB /s", 10_000_000],
    ["500k", 512_000],
    ["5000", 5000],
    ["80Mbit", 10_000_000],
    ["80 mbit/s", 10_000_000],
    ["1.5Gbit", 187_500_000],
    ["100kbit", 12_500],
    ["8000bits", 1000],
    ["0", null],
    ["off", null],
    ["None", null],
  ];
  for (const [text, bytesPerSecond] of rates) t.equal(parseRate(text), bytesPerSecond, text);
  for (const text of ["", "/s", "10Mb", "10Mbps", "10Mb/s", "10MBps", "bit", "-1", "10Mibit", "10M/m", "fast"]) {
    t.equal(parseRate(text), undefined, `'${text}' is refused`);
  }
});

t.test("durations", async (t) => {
  const durations: [string, number][] = [
    ["500ms", 500],
    ["30s", 30_000],
    ["30", 30_000],
    ["0", 0],
    ["1.5s", 1500],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
    ["2 h", 7_200_000],
  ];
  for (const [text, ms] of durations) t.equal(parseDuration(text), ms, text);
  for (const text of ["", "s", "-1s", "1S", "1min", "1h30m", "5M", "1e3"]) {
    t.equal(parseDuration(text), undefined, `'${text}' is refused`);
  }
});

t.test("whole numbers", async (t) => {
  t.equal(parseWhole(" 8 "), 8);
  for (const text of ["", "8.0", "-8", "+8", "0x8", "8e0", "99999999999999999999"]) {
    t.equal(parseWhole(text), undefined, `'${text}' is refused`);
  }
});
