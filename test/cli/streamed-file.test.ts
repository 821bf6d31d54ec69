import t from "tap";
import { StreamedFile } from "../../src/cli/streamed-file.ts";
import type { ErrorCode } from "../../src/protocol/errors.ts";
import type { ServerEvent, TransferRecord } from "../../src/server/types.ts";

const file = (code?: ErrorCode) => {
  const status = code === undefined ? "committed" : "failed";
  return { type: "file", file: { status }, ...(code === undefined ? {} : { code }) } as ServerEvent;
};
const transfer = (files: number, filesFailed: number) =>
  ({ type: "transfer", record: { files, filesFailed } as TransferRecord }) as ServerEvent;
const ended = (code: ErrorCode) => ({ type: "ended", transferId: "", peer: "", code, message: "" }) as ServerEvent;

function codeOf(events: ServerEvent[], bytesOut: number): number | undefined {
  const streamed = new StreamedFile();
  return events.map((event) => streamed.exitCode(event, bytesOut)).at(-1);
}

t.test("the exit code says whether all of it came out, and why not", async (t) => {
  t.equal(codeOf([file()], 10), undefined, "the receipt is still to come");
  t.equal(codeOf([file(), transfer(1, 0)], 10), 0);
  t.equal(codeOf([file("E_CONTENT"), transfer(1, 1)], 10), 65);
  t.equal(codeOf([file(), file("E_ONE_FILE"), transfer(2, 1)], 10), 23);
  t.equal(codeOf([ended("E_LOST")], 10), 75);
  t.equal(codeOf([ended("E_INTERRUPTED")], 10), 75, "it was the client that got the signal");
  t.equal(codeOf([ended("E_ILLEGAL")], 10), 76);
  t.equal(codeOf([ended("E_LOST")], 0), undefined, "before anything came out another may come");
  t.equal(codeOf([{ type: "listening", host: "", port: 1, dir: null }], 0), undefined);
});

t.test("what came out is whole when a file was committed, whatever fails beside it and after it", async (t) => {
  const isWhole = (...events: ServerEvent[]) => {
    const streamed = new StreamedFile();
    for (const event of events) streamed.exitCode(event, 10);
    return streamed.isWhole;
  };
  t.equal(isWhole(), false);
  t.equal(isWhole(file("E_CONTENT"), transfer(1, 1)), false);
  t.equal(isWhole(ended("E_LOST")), false);
  t.equal(isWhole(file(), file("E_ONE_FILE"), transfer(2, 1)), true);
  t.equal(isWhole(file("E_ONE_FILE"), file(), transfer(2, 1)), true);
  t.equal(isWhole(file(), ended("E_LOST")), true);
});
