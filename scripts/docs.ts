/**
 * Writes the generated parts of the documents: what stands between `<!-- generated:NAME -->` and its end marker is made
 * from the tables in src/protocol and from the vectors, so that it can't say anything else than the code does.
 *
 *   node scripts/docs.ts           rewrites what is out of date
 *   node scripts/docs.ts --check   names the documents that are out of date, and exits 1 where there are any
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { ERRORS } from "../src/protocol/errors.ts";
import { FRAME_TYPES, type FrameName } from "../src/protocol/header.ts";
import * as limits from "../src/protocol/limits.ts";
import { TRANSITIONS } from "../src/protocol/states.ts";
import { type ExpectedEvent, hexOf, vectorFile } from "../test/helpers/vectors.ts";

type Section = () => string;

/** The sections that each document may have. */
const DOCUMENTS: Record<string, Record<string, Section>> = {
  "PROTOCOL.md": { frames, states, limits: limitsTable, errors: wireErrors, vectors },
  "README.md": { "exit-codes": exitCodes, errors: allErrors },
};

/** The meaning of each limit; the type demands one for every constant. */
const LIMITS: Record<keyof typeof limits, string> = {
  VERSION_MIN: "lowest version of this protocol that this document describes",
  VERSION_MAX: "highest version",
  DEFAULT_PORT: "TCP port of a server, unless another is given",
  GREETING_BYTES: "bytes of the greeting",
  HEADER_BYTES: "bytes of a frame's header",
  CONTROL_PAYLOAD_BYTES_MAX: "largest payload of a control frame, in bytes",
  OPENING_PAYLOAD_BYTES_MAX: "the same in the states `start`, `welcoming` and `attaching`",
  PAGE_BYTES: "bytes that a sender fills a page of a list up to; the receiver's bound is the frame's",
  PAGE_ENTRIES_MAX: "most entries in one page of a list",
  CHUNK_BYTES_DEFAULT: "chunk size that a client asks for unless told otherwise, in bytes",
  CHUNK_BYTES_MIN: "smallest chunk size, in bytes",
  CHUNK_BYTES_MAX: "largest chunk size, in bytes",
  CHUNK_BYTES_STEP: "chunk sizes are multiples of this, in bytes",
  STREAMS_DEFAULT: "streams that a client asks for unless told otherwise",
  STREAMS_MAX: "most streams of one session",
  WINDOW_BYTES:
    "bytes that one stream may have unacknowledged, as this server grants it (more where chunks are larger than a quarter of it)",
  OPEN_FILES_MAX: "files in chunks that may be offered and not settled, as this server grants it",
  OPEN_SMALL_MAX: "the same of files that are sent whole, directories and links",
  RUNS_MAX: "runs of neighbouring chunks that a sink has of a session's open files, besides the first of each file",
  OFFERED_AHEAD_MAX: "entries from the first that has no outcome on to the last that is offered",
  BUNDLE_FILES_MAX: "files in one BUNDLE",
  NAME_BYTES_MAX: "longest name, in bytes",
  COMPONENT_BYTES_MAX: "longest component of a name, in bytes",
  FILE_BYTES_MAX: "largest size, and largest offset, in bytes: 2^53 - 1",
  SESSION_ID_BYTES: "bytes of a session's id",
  RESUME_KEY_BYTES: "bytes of the key that a file is known again by",
  RESUME_KEYS_MAX: "most keys in HELLO",
  HAVE_CHUNKS_MAX: "most chunks in one HAVE",
  CHUNK_DIGEST_BYTES: "bytes of a chunk's BLAKE3 digest that HAVE carries",
  HAVE_DIGESTS_MAX: "most chunks in one HAVE with digests",
  DIGEST_BYTES: "bytes of a BLAKE3 digest",
  TICKET_ID_BYTES: "bytes of a ticket's id",
  TICKET_PIN_BYTES: "bytes of the pin of a server's key",
  TICKET_TOKEN_BYTES: "bytes of a ticket's token",
  TICKET_HOST_BYTES_MAX: "longest host in a ticket, in bytes",
  PROOF_BYTES: "bytes of a proof that a token is known",
  TEXT_CHARS_MAX: "longest text in a message, in UTF-16 code units",
  SEALS_OFFERED_MAX: "most ciphers for sealed streams in HELLO",
  SEALED_RECORD_BYTES_MAX: "most bytes in one record of a sealed stream",
  SEALED_FIRST_RECORD_BYTES_MAX: "the same of the first that a client sends",
  SEALED_RECORDS_PER_KEY: "records of a sealed stream under one key",
  SEALED_NUMBERS_WINDOW: "how far behind the highest the number of a sealed stream may come",
  CHUNK_RESENDS_MAX: "how often one chunk may arrive damaged before the source gives up",
};

/** What scripts may rely on. Those that no error has are said here. */
const EXITS: Record<number, string> = {
  0: "committed and verified",
  1: "anything else",
  2: "usage",
  23: "some files failed, the rest is committed",
  65: "content differs, or the source changed",
  66: "source missing",
  69: "server unreachable",
  73: "destination refused: exists, forbidden name",
  74: "I/O error, no space",
  75: "the connection was lost: run the same command again",
  76: "protocol error",
  77: "not authorized",
  78: "configuration",
  130: "interrupted by SIGINT",
  143: "ended by SIGTERM",
};

/** Columns are padded, as Biome has them. */
function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => String(cell).replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  const [first = [], ...others] = cells;
  return [line(first), line(widths.map((width) => "-".repeat(width))), ...others.map(line)].join("\n");
}

const yesOrNo = (value: boolean) => (value ? "yes" : "no");
const grouped = (n: number) => n.toLocaleString("en-US");

function frames(): string {
  const ON_STREAMS = new Set(["attaching", "data"]);
  return table(
    ["type", "name", "sent by", "on"],
    Object.entries(FRAME_TYPES).map(([name, type]) => {
      const uses = TRANSITIONS.filter(({ frame }) => frame === name);
      const on = new Set(
        uses.map(({ from, to }) => (ON_STREAMS.has(from) || ON_STREAMS.has(to) ? "stream" : "control")),
      );
      return [type, name, [...new Set(uses.map(({ by }) => by))].join(", "), [...on].join(", ")];
    }),
  );
}

function states(): string {
  const arrows = new Map<string, Map<string, FrameName[]>>();
  for (const { from, to, by, frame } of TRANSITIONS) {
    const key = `${from} --> ${to}`;
    const labels = arrows.get(key) ?? new Map<string, FrameName[]>();
    labels.set(by, [...(labels.get(by) ?? []), frame]);
    arrows.set(key, labels);
  }
  const diagram = [...arrows].map(([arrow, labels]) => {
    const text = [...labels].map(([by, names]) => `${by} ${names.join(", ")}`);
    return `    ${arrow} : ${text.join("<br/>")}`;
  });
  return [
    "```mermaid",
    "stateDiagram-v2",
    "    [*] --> start",
    ...diagram,
    "    done --> [*]",
    "    failed --> [*]",
    "```",
    "",
    table(
      ["state", "frame", "sent by", "next state"],
      TRANSITIONS.map(({ from, frame, by, to }) => [`\`${from}\``, frame, by, `\`${to}\``]),
    ),
  ].join("\n");
}

function limitsTable(): string {
  const values: Record<string, number> = { ...limits };
  return table(
    ["name", "value", "meaning"],
    Object.entries(LIMITS).map(([name, meaning]) => {
      return [`\`${name}\``, grouped(values[name] as number), meaning];
    }),
  );
}

function wireErrors(): string {
  const onTheWire = Object.entries(ERRORS).filter(([, { wire }]) => wire !== 0);
  return table(
    ["number", "code", "retry can help", "what to do"],
    onTheWire
      .toSorted(([, a], [, b]) => a.wire - b.wire)
      .map(([code, { wire, retryable, hint }]) => [wire, `\`${code}\``, yesOrNo(retryable), hint]),
  );
}

function exitCodes(): string {
  return table(
    ["exit", "meaning", "errors"],
    Object.entries(EXITS).map(([exit, meaning]) => {
      const codes = Object.entries(ERRORS).filter(([, row]) => row.exit === Number(exit));
      return [exit, meaning, codes.map(([code]) => `\`${code}\``).join(", ")];
    }),
  );
}

function allErrors(): string {
  return table(
    ["code", "exit", "retry can help", "what to do"],
    Object.entries(ERRORS).map(([code, { exit, retryable, hint }]) => [`\`${code}\``, exit, yesOrNo(retryable), hint]),
  );
}

/** Bytes in lines of 32, a frame's header on a line of its own. */
function hexLines(hex: string): string {
  return hex.match(/.{1,64}/g)?.join("\n") ?? "";
}

/** Diagnostic notation in the manner of RFC 8949, 8: bytes as h'...'. */
function notation(value: unknown): string {
  if (value instanceof Uint8Array) return `h'${hexOf(value)}'`;
  if (Array.isArray(value)) return `[${value.map(notation).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).map(([key, field]) => `${JSON.stringify(key)}: ${notation(field)}`);
    return `{${fields.join(", ")}}`;
  }
  return JSON.stringify(value);
}

function meaning(events: readonly ExpectedEvent[]): string {
  return events
    .map((event) => {
      if ("message" in event) return `${event.message} ${notation(event.body)}`;
      if ("bundle" in event) {
        const files = event.bundle.files.map(({ file, content }) => `file ${file} h'${content}'`);
        return `BUNDLE ${event.bundle.file}: ${files.join(", ")}`;
      }
      const { file, offset, payload, intact, encoding, decodedBytes } = event.chunk;
      const stands = encoding === undefined ? "" : `, ${encoding}, ${decodedBytes} bytes when decoded`;
      return `CHUNK file ${file}, offset ${offset}${stands}, payload h'${payload}'${intact === false ? ", damaged" : ""}`;
    })
    .join("\n");
}

function vectors(): string {
  const blocks: string[] = [];
  const shown = new Set<string>();
  const show = (name: string, description: string, hex: string, what: string) => {
    if (shown.has(hex)) return;
    shown.add(hex);
    blocks.push(`**${name}**: ${description}.`, ["```text", hexLines(hex), "", what, "```"].join("\n"));
  };
  for (const { name, description, hex, expect } of vectorFile("greeting").vectors) {
    if (!("error" in expect) && expect.chosen === undefined) {
      show(`Greeting, ${name}`, description, hex, `versions ${expect.min} to ${expect.max}`);
    }
  }
  for (const file of ["messages", "chunks"] as const) {
    for (const { name, description, hex, expect } of vectorFile(file).vectors) {
      const isBundle = expect.some((event) => "bundle" in event);
      show(file === "chunks" ? `${isBundle ? "BUNDLE" : "CHUNK"}, ${name}` : name, description, hex, meaning(expect));
    }
  }
  return blocks.join("\n\n");
}

function render(text: string, sections: Record<string, Section>, file: string): string {
  return text.replace(
    /(<!-- generated:([\w-]+) -->\n)[\s\S]*?(<!-- \/generated:\2 -->)/g,
    (_whole, start: string, name: string, end: string) => {
      const section = sections[name];
      if (section === undefined) throw new Error(`${file}: nothing is known that makes '${name}'`);
      return `${start}\n${section()}\n\n${end}`;
    },
  );
}

const check = process.argv.includes("--check");
const outdated: string[] = [];
for (const [file, sections] of Object.entries(DOCUMENTS)) {
  const path = new URL(`../${file}`, import.meta.url);
  if (!existsSync(path)) continue;
  const before = readFileSync(path, "utf8");
  const after = render(before, sections, file);
  if (before === after) continue;
  if (check) outdated.push(file);
  else writeFileSync(path, after);
}
if (outdated.length > 0) {
  console.error(`out of date: ${outdated.join(", ")}; run: node scripts/docs.ts`);
  process.exitCode = 1;
}
