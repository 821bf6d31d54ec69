import t from "tap";
import {
  formatBitRate,
  formatBytes,
  formatCount,
  formatDuration,
  formatEta,
  formatPercent,
  formatRate,
  plural,
} from "../../src/cli/format.ts";

t.test("bytes have three figures and never 1024 of a unit", async (t) => {
  const shown: [number, string][] = [
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [1536, "1.50 KiB"],
    [10 * 1024, "10.0 KiB"],
    [9.999 * 1024, "10.0 KiB"],
    [1023.4 * 1024, "1023 KiB"],
    [1023.6 * 1024, "1.00 MiB"],
    [268_435_456, "256 MiB"],
    [2 ** 53, "8.00 PiB"],
  ];
  for (const [bytes, text] of shown) t.equal(formatBytes(bytes), text);
  t.equal(formatRate(208 * 1024 ** 2), "208 MiB/s");
  t.equal(formatBitRate(125_000_000), "1.00 Gbit/s");
  t.equal(formatBitRate(0), "0 bit/s");
});

t.test("times", async (t) => {
  const shown: [number, string][] = [
    [0, "0 ms"],
    [999.4, "999 ms"],
    [999.6, "1.00 s"],
    [9994, "9.99 s"],
    [9996, "10.0 s"],
    [59_949, "59.9 s"],
    [59_950, "1 min 00 s"],
    [123_000, "2 min 03 s"],
    [3_599_600, "1 h 00 min"],
    [3_720_000, "1 h 02 min"],
    [47 * 3_600_000 + 59 * 60_000, "47 h 59 min"],
    [48 * 3_600_000, "2 d 00 h"],
    [30 * 86_400_000 - 1000, "30 d 00 h"],
    [10_000 * 86_400_000, "10,000 d 00 h"],
  ];
  for (const [ms, text] of shown) t.equal(formatDuration(ms), text);
  t.equal(formatEta(1), "1 s");
  t.equal(formatEta(59_400), "59 s");
  t.equal(formatEta(61_000), "1 min 01 s");
});

t.test("100% is said at the end only", async (t) => {
  t.equal(formatPercent(0, 1000), "0%");
  t.equal(formatPercent(999, 1000), "99%");
  t.equal(formatPercent(1000, 1000), "100%");
  t.equal(formatPercent(0, 0), "100%");
});

t.test("counts", async (t) => {
  t.equal(formatCount(268435456), "268,435,456");
  t.equal(formatCount(999), "999");
  t.equal(plural(1, "file"), "1 file");
  t.equal(plural(1000, "file"), "1,000 files");
});
