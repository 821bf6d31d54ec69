/** The dealer with streams that live elsewhere, driven by hand. */
import t from "tap";
import type { DistantStream } from "../../src/net/transfer-end.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import { Compression } from "../../src/source/compression.ts";
import { Dealer } from "../../src/source/dealer.ts";
import type { SourceOrder, SourceReport } from "../../src/source/stream.ts";
import { WELCOME } from "../helpers/conversation.ts";

const CHUNK = 65_536;

class Elsewhere implements DistantStream {
  readonly sendingLimit = undefined;
  readonly orders: SourceOrder[] = [];
  events: DistantStream["events"] = { onReport: () => {}, onClosed: () => {} };

  post(order: object): void {
    this.orders.push(order as SourceOrder);
  }
  say(report: SourceReport): void {
    this.events.onReport(report);
  }
}

function dealer() {
  const returned: number[] = [];
  const seen: string[] = [];
  const made = new Dealer({ ...WELCOME, chunkBytes: CHUNK }, new Compression("none", 1), {
    readerOf: (file) => ({ kind: "file", fd: 100 + file, shownName: `f${file}` }),
    onLent: (file, until) => void until.then(() => returned.push(file)),
    stillWanted: (bundle) => bundle,
    onBundled: () => {},
    onSentBundle: () => {},
    onSent: (piece, crc32) => seen.push(`sent ${piece.offset / CHUNK} ${crc32}`),
    onUnreadable: () => {},
    onLeft: (file) => seen.push(`left of ${file}`),
    onAcknowledged: (stream, _file, offset, bytes) => seen.push(`${stream} has ${offset / CHUNK} ${bytes}`),
    onResent: (reason, count) => seen.push(`${reason} ${count}`),
    onReading: () => {},
    onIdle: () => {},
    onFailed: (error) => seen.push(error.code),
  });
  return { dealer: made, returned, seen };
}

const sentAs = { encoding: "raw", bytesOnWire: CHUNK } as const;
const settled = () => new Promise((resolve) => setImmediate(resolve));

t.test("a stream elsewhere gets orders, and what it says counts", async (t) => {
  const { dealer: dealing, returned, seen } = dealer();
  const [a, b] = [new Elsewhere(), new Elsewhere()];
  const closed: (HawserError | undefined)[] = [];
  dealing.openDistant(a, 0, (error) => closed.push(error));
  dealing.add(3, [{ start: 0, end: 2 * CHUNK }]);
  t.same(a.orders, [], "it has not asked for anything");
  a.say({ type: "ready", count: 1 });
  const piece = { file: 3, offset: 0, bytes: CHUNK };
  t.same(a.orders, [
    { type: "file", file: 3, reader: { kind: "file", fd: 103, shownName: "f3" } },
    { type: "send", piece, compress: "no" },
  ]);
  a.say({ type: "read", piece, crc32: 77, sent: sentAs, spent: undefined });
  a.say({ type: "acknowledged", chunks: [[3, 0, CHUNK]] });
  t.same(seen, ["sent 0 77", `0 has 0 ${CHUNK}`]);
  await settled();
  t.same(returned, []);

  await t.test("a file that is forgotten is lent until the stream has said that it read its last of it", async (t) => {
    dealing.openDistant(b, 1, () => {});
    b.say({ type: "ready", count: 1 });
    t.match(b.orders, [{ type: "file" }, { type: "send", piece: { offset: CHUNK } }]);
    dealing.forget(3);
    t.same(a.orders.at(-1), { type: "forget", file: 3 });
    a.say({ type: "forgot", file: 3 });
    await settled();
    t.same(returned, [3]);
    b.say({ type: "forgot", file: 3 });
    await settled();
    t.same(returned, [3, 3]);
  });

  await t.test("a stream that is gone has nothing lent any more, and what it had goes to the others", async (t) => {
    dealing.add(4, [{ start: 0, end: CHUNK }]);
    b.say({ type: "ready", count: 1 });
    t.match(b.orders.at(-1), { type: "send", piece: { file: 4, offset: 0 } });
    a.say({ type: "ready", count: 1 });
    b.events.onClosed(new HawserError("E_LOST", "gone"));
    await settled();
    t.same(returned, [3, 3, 4]);
    t.equal(seen.at(-1), "lost 1");
    t.match(a.orders.at(-1), { type: "send", piece: { file: 4, offset: 0 } });
  });

  await t.test("what another has taken the place of counts for nothing, but for what it gives back", async (t) => {
    const place = new Elsewhere();
    dealing.openDistant(place, 0, () => {});
    a.say({ type: "acknowledged", chunks: [[4, 0, CHUNK]] });
    t.notMatch(seen.at(-1), /has/);
    dealing.dispose();
    a.events.onClosed(undefined);
    await settled();
    t.same(returned, [3, 3, 4, 4]);
    t.same(closed, [undefined]);
  });
});
