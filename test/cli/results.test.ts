import t from "tap";
import { demoRecord, verifiedText } from "../../src/cli/demo-view.ts";
import { failedFileText, fileLine, JsonResults, receipt } from "../../src/cli/results.ts";
import { FAILED_FILE, FILE, REFUSED, RESULT } from "./fakes.ts";
import { nonconformity, schemaOf } from "./schema.ts";

t.test("the receipt: golden", async (t) => {
  let text = "";
  const view = receipt((more) => {
    text += more;
  });
  view.file(FILE);
  view.file({ ...FILE, name: "notes.txt", bytes: 1234, crc32: null, status: "unchanged" });
  view.file(FAILED_FILE);
  view.finish({ ...RESULT, filesCommitted: 2, bytesSent: RESULT.bytes - 1024, bytesResumed: 1024, retries: 3 });
  t.equal(
    text,
    [
      "sent        256 MiB  1c291ca3  big.bin",
      "unchanged  1.21 KiB  --------  notes.txt",
      "committed   2 files, 256 MiB (268,435,456 bytes)",
      "time        1.23 s",
      "rate        207 MiB/s",
      "resumed     1.00 KiB",
      "retries     3",
      "streams     4",
      "durability  commit",
      "transfer    3e5667f9-c9ad-4897-83ed-75abac6c0c2c",
      "",
    ].join("\n"),
  );
});

t.test("the receipt says what was saved, where something was", async (t) => {
  let text = "";
  const view = receipt((more) => {
    text += more;
  });
  view.finish({ ...RESULT, bytesOnWire: 67_108_864, bytesSaved: 201_326_592 });
  t.match(text, /^rate .*\nsaved {7}192 MiB: 64.0 MiB went over the wire\nresumed /m);
});

t.test("the receipt of a resumed transfer: golden", async (t) => {
  let text = "";
  const view = receipt((more) => {
    text += more;
  });
  view.file({ ...FILE, status: "resumed" });
  const resumed = { ...RESULT, bytesSent: 67_108_864, bytesResumed: 201_326_592, bytesPerSecond: 54_358_180.1 };
  view.finish(resumed);
  t.equal(
    text,
    [
      "resumed     256 MiB  1c291ca3  big.bin",
      "committed   1 file, 256 MiB (268,435,456 bytes)",
      "time        1.23 s",
      "rate        51.8 MiB/s",
      "resumed     192 MiB",
      "retries     0",
      "streams     4",
      "durability  commit",
      "transfer    3e5667f9-c9ad-4897-83ed-75abac6c0c2c",
      "",
    ].join("\n"),
  );
  text = "";
  view.finish({ ...RESULT, limitBytesPerSecond: 10_000_000 });
  t.match(text, /^rate .*\nlimit {7}9\.54 MiB\/s \(80\.0 Mbit\/s\)\nresumed/m);
  text = "";
  view.finish({ ...resumed, bytesTrusted: 134_217_728 });
  t.match(text, /^resumed {5}192 MiB, 128 MiB of it trusted by size and time, not read again$/m);
  text = "";
  view.finish({ ...resumed, bytesTrusted: resumed.bytesResumed });
  t.match(text, /^resumed {5}192 MiB, 192 MiB of it trusted/m);
});

t.test("a transfer of which earlier runs had committed all is committed, not unchanged", async (t) => {
  let text = "";
  const view = receipt((more) => {
    text += more;
  });
  view.finish({ ...RESULT, bytesSent: 0, bytesResumed: RESULT.bytes, bytesPerSecond: 0 });
  t.match(text, /^committed {3}1 file, 256 MiB /);
  t.notMatch(text, /unchanged/);
});

t.test("where nothing was committed there is no receipt", async (t) => {
  let text = "";
  const view = receipt((more) => {
    text += more;
  });
  view.file(FAILED_FILE);
  view.finish(REFUSED);
  t.equal(text, "");
});

t.test("the receipt of a dry run: golden", async (t) => {
  let text = "";
  const view = receipt((more) => {
    text += more;
  });
  const planned = { ...FILE, crc32: null };
  view.file(planned);
  view.file({ ...planned, name: "dump.sql", bytes: 1024, replaced: true });
  view.file({ ...planned, name: "notes (1).txt", bytes: 0, status: "renamed" });
  view.file({ ...planned, name: "socket", bytes: 0, status: "skipped" });
  view.finish({ ...RESULT, dryRun: true, filesCommitted: 3, filesSkipped: 1 });
  t.equal(
    text,
    [
      "sent        256 MiB  --------  big.bin",
      "replaced   1.00 KiB  --------  dump.sql",
      "renamed         0 B  --------  notes (1).txt",
      "skipped         0 B  --------  socket",
      "would send  3 files, 256 MiB (268,435,456 bytes)",
      "skipped     1 socket, FIFO or device",
      "dry run     nothing was sent",
      "",
    ].join("\n"),
  );
});

t.test("names are shown escaped", async (t) => {
  t.equal(fileLine({ ...FILE, name: "a\u001b[2Jb" }), "sent        256 MiB  1c291ca3  a\\u{1b}[2Jb\n");
});

t.test("a failed file, for standard error", async (t) => {
  t.equal(
    failedFileText(FAILED_FILE),
    "hawser: old.bin: a file of this name is there already, with other content (E_EXISTS)\n  Choose another name.\n",
  );
});

function documentOf(fill: (results: JsonResults) => void): string {
  let text = "";
  fill(
    new JsonResults((more) => {
      text += more;
    }),
  );
  return text;
}

t.test("send --json: golden", async (t) => {
  const text = documentOf((results) => {
    results.file(FILE);
    results.finish(RESULT);
  });
  t.equal(
    text,
    [
      '{"files":[',
      '{"name":"big.bin","bytes":268435456,"crc32":"1c291ca3","status":"sent","error":null}',
      '],"ok":true,"transferId":"3e5667f9-c9ad-4897-83ed-75abac6c0c2c","bytes":268435456,"bytesResumed":0,' +
        '"durationMs":1234.568,"bytesPerSecond":217432720,"streams":4,"retries":0,"durability":"commit","bytesSent":268435456,"bytesTrusted":0,"limitBytesPerSecond":null,"bytesOnWire":268435456,"bytesSaved":0,"bytesMatched":0}',
      "",
    ].join("\n"),
  );
});

t.test("send --json conforms to its schema, whatever happened", async (t) => {
  const documents: Record<string, (results: JsonResults) => void> = {
    success: (results) => {
      results.file(FILE);
      results.finish(RESULT);
    },
    "partial failure": (results) => {
      results.file(FILE);
      results.file(FAILED_FILE);
      results.finish({ ...RESULT, ok: false, error: FAILED_FILE.error });
    },
    "a resumed file": (results) => {
      results.file({ ...FILE, status: "resumed" });
      results.finish({ ...RESULT, bytesSent: 1, bytesResumed: FILE.bytes - 1, bytesTrusted: 5 });
    },
    "files that gave way, were renamed or left out": (results) => {
      results.file({ ...FILE, replaced: true });
      results.file({ ...FILE, name: "big (1).bin", status: "renamed" });
      results.file({ ...FILE, bytes: 0, crc32: null, status: "skipped" });
      results.finish(RESULT);
    },
    "a dry run": (results) => {
      results.file({ ...FILE, crc32: null, replaced: true });
      results.finish({ ...RESULT, dryRun: true });
    },
    "no connection": (results) => results.finish(REFUSED),
    "never begun": (results) => results.abandon(REFUSED.error!),
    "ended at once": (results) => {
      results.file(FILE);
      results.abandon(REFUSED.error!);
    },
  };
  for (const [name, fill] of Object.entries(documents)) {
    t.equal(nonconformity("send", JSON.parse(documentOf(fill))), undefined, name);
  }
  const ended = JSON.parse(documentOf(documents["ended at once"]!));
  t.equal(ended.bytes, FILE.bytes, "what was committed counts");
  const dry = JSON.parse(documentOf(documents["a dry run"]!));
  t.match(dry, { files: [{ replaced: true }], dryRun: true });
});

t.test("the schema refuses what it must", async (t) => {
  const good = JSON.parse(documentOf((results) => results.finish(RESULT)));
  const bad: [string, object][] = [
    ["a failure without an error", { ...good, ok: false }],
    ["a success with one", { ...good, error: REFUSED.error }],
    ["an unknown field", { ...good, extra: 1 }],
    ["an unknown status", { ...good, files: [{ ...FILE, status: "lost" }] }],
    ["a CRC of another form", { ...good, files: [{ ...FILE, crc32: "1C291CA3" }] }],
    ["negative bytes", { ...good, bytes: -1 }],
    ["a file that replaced nothing", { ...good, files: [{ ...FILE, replaced: false }] }],
    ["a dry run that was none", { ...good, dryRun: false }],
    ["a part of a byte that is trusted", { ...good, bytesTrusted: 0.5 }],
  ];
  for (const [name, document] of bad) t.type(nonconformity("send", document), "string", name);
  const { durability: _, ...missing } = good;
  t.type(nonconformity("send", missing), "string", "a missing field");
});

t.test("the document has the fields that the contract lists, in its order", async (t) => {
  const listed = [
    "files",
    "ok",
    "transferId",
    "bytes",
    "bytesResumed",
    "durationMs",
    "bytesPerSecond",
    "streams",
    "retries",
    "durability",
    // Added since: nothing is renamed, and nothing moves.
    "bytesSent",
    "bytesTrusted",
    "limitBytesPerSecond",
    "bytesOnWire",
    "bytesSaved",
    "bytesMatched",
  ];
  t.same(Object.keys(JSON.parse(documentOf((results) => results.finish(RESULT)))), listed);
  t.same(schemaOf("send")["required"], listed);
});

t.test("demo --json", async (t) => {
  t.equal(nonconformity("demo", demoRecord(RESULT, true)), undefined);
  const wrong = demoRecord(RESULT, false);
  t.equal(nonconformity("demo", wrong), undefined);
  t.equal(wrong["ok"], false, "a receipt alone is not a success");
  t.equal(nonconformity("demo", demoRecord(REFUSED, false)), undefined);
  t.equal(verifiedText(1048576), "verified    1,048,576 bytes on the disk are those that were sent\n");
});
