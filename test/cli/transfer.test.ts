import t from "tap";
import { JsonResults, NO_RESULTS, receipt } from "../../src/cli/results.ts";
import { runTransfer, type TransferView } from "../../src/cli/transfer.ts";
import type { SendOptions, TransferEvent, TransferResult } from "../../src/client/types.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import { CONNECTED, FAILED_FILE, FILE, fakeOutput, PROGRESS, REFUSED, RESULT } from "./fakes.ts";
import { nonconformity } from "./schema.ts";

const OPTIONS = { paths: ["big.bin"], to: { host: "127.0.0.1", port: 1 } };
const VIEW: TransferView = { results: NO_RESULTS, progress: "auto", quiet: false, verbose: false };

/** A library that gives these events and this result. */
const fakeSend = (events: readonly TransferEvent[], result: TransferResult) => async (options: SendOptions) => {
  for (const event of events) options.onEvent?.(event);
  return result;
};

const SUCCESS = [CONNECTED, PROGRESS, { type: "file", file: FILE }] as const;

t.test("a success: the receipt on standard output, nothing on standard error", async (t) => {
  const output = fakeOutput();
  const results = receipt(output.out);
  const result = await runTransfer(fakeSend(SUCCESS, RESULT), OPTIONS, { ...VIEW, results }, output, {});
  t.equal(result, RESULT);
  t.match(output.outText(), /^sent {8}256 MiB {2}1c291ca3 {2}big\.bin\ncommitted /);
  t.equal(output.errText(), "");
});

t.test("a failure: the sentence, its code and the next step on standard error", async (t) => {
  const output = fakeOutput();
  await runTransfer(fakeSend([], REFUSED), OPTIONS, { ...VIEW, results: receipt(output.out) }, output, {});
  t.equal(output.outText(), "");
  t.equal(
    output.errText(),
    "hawser: 127.0.0.1:1 can't be reached: nothing listens there (E_UNREACHABLE)\n  Check the address.\n",
  );
});

t.test("a failure that a file's line said already is not said again", async (t) => {
  const output = fakeOutput();
  const failed = { ...REFUSED, error: FAILED_FILE.error };
  await runTransfer(fakeSend([{ type: "file", file: FAILED_FILE }], failed), OPTIONS, VIEW, output, {});
  t.equal(output.errText().match(/E_EXISTS/g)?.length, 1);
});

t.test("quiet: errors only", async (t) => {
  const output = fakeOutput();
  const events: TransferEvent[] = [...SUCCESS, { type: "warning", message: "hm" }];
  await runTransfer(fakeSend(events, RESULT), OPTIONS, { ...VIEW, quiet: true }, output, {});
  t.equal(output.errText(), "");
  await runTransfer(fakeSend([], REFUSED), OPTIONS, { ...VIEW, quiet: true }, output, {});
  t.match(output.errText(), /E_UNREACHABLE/);
});

t.test("--progress json: standard error carries events and nothing else", async (t) => {
  const output = fakeOutput();
  const events: TransferEvent[] = [...SUCCESS, { type: "file", file: FAILED_FILE }, { type: "warning", message: "hm" }];
  const controller = new AbortController();
  const send = async (options: SendOptions) => {
    controller.abort(new HawserError("E_INTERRUPTED", "stop"));
    return fakeSend(events, REFUSED)(options);
  };
  const options = { ...OPTIONS, to: { host: "nas", port: 1 }, signal: controller.signal };
  await runTransfer(send, options, { ...VIEW, progress: "json", verbose: true }, output, {});
  const lines = output.errText().trimEnd().split("\n");
  for (const line of lines) t.equal(nonconformity("progress-event", JSON.parse(line)), undefined, line);
  t.same(
    lines.map((line) => JSON.parse(line).event),
    ["warning", "connected", "progress", "file", "file", "warning", "error"],
  );
});

t.test("verbose says what was agreed on and what it cost", async (t) => {
  const output = fakeOutput();
  await runTransfer(fakeSend(SUCCESS, RESULT), OPTIONS, { ...VIEW, verbose: true }, output, {});
  t.match(output.errText(), /connected to hawser\/0\.1\.0 .*: 4 streams, chunks of 1\.00 MiB, durability commit/);
  t.match(output.errText(), /CPU time for 256 MiB: client 0\.10 s, server 0\.20 s/);
});

t.test("an interrupt is said, and the next step is left to the caller", async (t) => {
  const output = fakeOutput();
  const controller = new AbortController();
  const interrupted = { ...REFUSED, error: { ...REFUSED.error!, code: "E_INTERRUPTED" as const } };
  const send = async () => {
    controller.abort(new HawserError("E_INTERRUPTED", "stop"));
    return interrupted;
  };
  await runTransfer(send, { ...OPTIONS, signal: controller.signal }, VIEW, output, {});
  t.match(output.errText(), /^hawser: stopping: .*\nhawser: .* \(E_INTERRUPTED\)\n$/);
});

t.test("a bug goes through, and the views are stopped", async (t) => {
  const output = fakeOutput();
  const results = new JsonResults(output.out);
  const send = async () => {
    throw new TypeError("a bug");
  };
  await t.rejects(runTransfer(send, OPTIONS, { ...VIEW, results }, output, {}), TypeError);
});

t.test("the list of files is written as files finish, not at the end", async (t) => {
  const output = fakeOutput();
  const send = async (options: SendOptions) => {
    for (let i = 0; i < 3; i++) {
      options.onEvent?.({ type: "file", file: FILE });
      t.equal(output.outText().match(/big\.bin/g)?.length, i + 1);
    }
    return RESULT;
  };
  await runTransfer(send, OPTIONS, { ...VIEW, results: new JsonResults(output.out) }, output, {});
  t.equal(nonconformity("send", JSON.parse(output.outText())), undefined);
});
