import t from "tap";
import { UsageError } from "../../src/cli/errors.ts";
import { describeSettings, optional, resolveSettings, type Setting, variableOf } from "../../src/cli/settings.ts";
import { choice, duration, endpoint, onOff, size, wholeNumber } from "../../src/cli/values.ts";

const setting = <T>(entry: Setting<T>) => entry;

const TABLE = {
  streams: setting({ flag: "streams", about: "", placeholder: "N", kind: wholeNumber(1, 64), fallback: 4 }),
  chunkBytes: setting({
    flag: "chunk-size",
    about: "",
    placeholder: "SIZE",
    kind: size({ minBytes: 65536, maxBytes: 16 * 1024 ** 2, stepBytes: 4096 }),
    fallback: 1024 ** 2,
  }),
  timeoutMs: setting({ flag: "timeout", about: "", placeholder: "D", kind: duration(100), fallback: 60_000 }),
  to: setting({ flag: "to", about: "", placeholder: "HOST", kind: optional(endpoint), fallback: undefined }),
  mode: setting<"a" | "b">({ flag: "mode", about: "", placeholder: "M", kind: choice("a", "b"), fallback: "a" }),
  insecure: setting({ flag: "insecure", about: "", kind: onOff, fallback: false, negatable: true }),
  once: setting({ flag: "once", about: "", kind: onOff, fallback: false, perRun: true }),
};

interface Given {
  flags?: Record<string, unknown>;
  environment?: Record<string, string>;
  entries?: Record<string, unknown>;
}

function resolve({ flags = {}, environment = {}, entries }: Given) {
  const section = entries === undefined ? undefined : { path: "/c/config.toml", name: "send", entries };
  return resolveSettings(TABLE, { flags, environment, section });
}

function failure(given: Given): UsageError {
  try {
    resolve(given);
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

t.test("a flag wins over the environment, that over the file, that over the default", async (t) => {
  const all = { flags: { streams: "1" }, environment: { HAWSER_STREAMS: "2" }, entries: { streams: 3 } };
  t.equal(resolve(all).values.streams, 1);
  t.equal(resolve({ ...all, flags: {} }).values.streams, 2);
  t.equal(resolve({ entries: { streams: 3 } }).values.streams, 3);
  t.equal(resolve({ entries: {} }).values.streams, 4);
  t.equal(resolve({}).values.streams, 4);
  t.same(resolve(all).origins.streams, { from: "flag", place: "--streams" });
  t.same(resolve({ entries: { streams: 3 } }).origins.streams, {
    from: "file",
    place: "/c/config.toml: [send] streams",
  });
});

t.test("every kind of value, from every source", async (t) => {
  const { values } = resolve({
    flags: { "chunk-size": "128k", insecure: false },
    environment: { HAWSER_TO: "nas", HAWSER_INSECURE: "1" },
    entries: { timeout: "500ms", mode: "b" },
  });
  t.same(values, {
    streams: 4,
    chunkBytes: 131072,
    timeoutMs: 500,
    to: { host: "nas", port: 23300 },
    mode: "b",
    insecure: false,
    once: false,
  });
  t.equal(resolve({ entries: { timeout: 30 } }).values.timeoutMs, 30_000, "a number in the file");
  t.equal(resolve({ entries: { insecure: true } }).values.insecure, true, "a boolean in the file");
  t.equal(resolve({ environment: { HAWSER_INSECURE: "off" } }).values.insecure, false);
  t.equal(resolve({ environment: { HAWSER_STREAMS: "" } }).values.streams, 4, "an empty variable is not set");
});

t.test("what belongs to one run comes from its flag only", async (t) => {
  t.equal(resolve({ environment: { HAWSER_ONCE: "1" } }).values.once, false);
  t.equal(resolve({ flags: { once: true } }).values.once, true);
  t.equal(failure({ entries: { once: true } }).code, "E_CONFIG");
});

t.test("errors name the place, the value, what was understood and what is expected", async (t) => {
  const flag = failure({ flags: { streams: "65" } });
  t.same([flag.code, flag.exitCode, flag.message], ["E_USAGE", 2, "--streams '65' can't be used"]);
  t.equal(flag.hint, "Expected: a whole number from 1 to 64.");

  const variable = failure({ environment: { HAWSER_CHUNK_SIZE: "1k" } });
  t.same([variable.code, variable.exitCode], ["E_CONFIG", 78]);
  t.equal(variable.message, "HAWSER_CHUNK_SIZE '1k' can't be used: it is 1.00 KiB (1,024 bytes)");
  t.match(variable.hint, /64\.0 KiB to 16\.0 MiB, a multiple of 4\.00 KiB/);

  const file = failure({ entries: { timeout: "soon" } });
  t.same([file.code, file.exitCode], ["E_CONFIG", 78]);
  t.equal(file.message, "/c/config.toml: [send] timeout 'soon' can't be used");

  t.match(failure({ entries: { streams: [1] } }).message, /\(a list\)/);
  t.match(failure({ flags: { timeout: "25d" } }).hint, /to 24d/);
  const unknown = failure({ entries: { stream: 3 } });
  t.equal(unknown.message, "/c/config.toml: [send] has no setting 'stream'");
  t.match(unknown.hint, /streams, chunk-size/);
  t.notMatch(unknown.hint, /once/);
});

t.test("what was understood can be said", async (t) => {
  const resolved = resolve({ flags: { "chunk-size": "128k" }, environment: { HAWSER_STREAMS: "8" } });
  t.same(describeSettings(TABLE, resolved), [
    "streams is 8, from HAWSER_STREAMS",
    "chunk-size is 128 KiB (131,072 bytes), from --chunk-size",
  ]);
});

t.test("names of variables", async (t) => {
  t.equal(variableOf("max-sessions-per-ip"), "HAWSER_MAX_SESSIONS_PER_IP");
});
