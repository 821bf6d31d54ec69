/**
 * What compression brings: data of three kinds, each with every --compress, over a path that is slow (limited by hawser
 * itself, which counts bytes on the wire) and over one that is not.
 */
import { randomFillSync } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { runHawser, startHawser } from "../lib/hawser.ts";
import { runAgainst } from "../lib/processes.ts";
import { type Line, linesOf, reportTable } from "../lib/report.ts";
import { type Contender, takeTurns } from "../lib/rounds.ts";
import { makeScratch, removeScratch } from "../lib/scratch.ts";
import type { Context, RowResult } from "./row.ts";

const TMPFS = "/dev/shm";
const MIB = 1024 * 1024;
const MODES = ["none", "auto", "zstd"] as const;
/** With the slow path's 12.5 MB a second this takes some seconds. */
const BYTES = 48 * MIB;
const PATHS = { "100 Mbit/s": ["--bwlimit", "100Mbit"], loopback: [] } as const;

type Fill = (block: Buffer, at: number) => void;

/** Text as logs have it, bytes that nothing makes shorter, and a MiB of each in turn. */
const KINDS: Record<string, Fill> = {
  compressible: fillText,
  incompressible: (block) => void randomFillSync(block),
  mixed: (block, at) => ((at / MIB) % 2 === 0 ? fillText(block, at) : void randomFillSync(block)),
};

export async function compress(context: Context): Promise<RowResult> {
  const title = `${BYTES / MIB} MiB of three kinds, by --compress`;
  if (!existsSync(TMPFS)) return { title, text: "", lines: [], goals: [], missing: [TMPFS] };
  const scratch = makeScratch(TMPFS);
  const served = join(scratch, "served");
  mkdirSync(served);
  const { server, to } = await startHawser(served, scratch);
  const texts: string[] = [];
  const lines: Line[] = [];
  try {
    for (const [kind, fill] of Object.entries(KINDS)) {
      const source = join(scratch, kind);
      writeKind(source, fill);
      for (const [path, flags] of Object.entries(PATHS)) {
        context.say(`${kind} over ${path}`);
        const contenders = MODES.map((mode): Contender => {
          const target = join(served, kind);
          const args = ["send", source, "--to", to, "--streams", String(context.streams), "--compress", mode, ...flags];
          return {
            name: mode,
            prepare: () => rmSync(target, { force: true }),
            run: async () => {
              const { seconds, cpu } = await runAgainst(server, () => runHawser(args, scratch));
              return { seconds, bytes: BYTES, cpu };
            },
            verify: async () => {
              if (!readFileSync(source).equals(readFileSync(target)))
                throw new Error(`${mode} delivered something else`);
            },
          };
        });
        const measured = linesOf(await takeTurns(contenders, context.rounds, context.say), "time", "none");
        texts.push(`${kind}, ${path}:\n\n${reportTable(measured, "none")}`);
        lines.push(...measured.map((line) => ({ ...line, name: `${kind}, ${path}, ${line.name}` })));
      }
      rmSync(source);
    }
  } finally {
    await server.stop();
    removeScratch(scratch);
  }
  return { title, text: texts.join("\n"), lines, goals: [], missing: [] };
}

function writeKind(path: string, fill: Fill): void {
  const block = Buffer.alloc(MIB);
  const fd = openSync(path, "wx");
  for (let at = 0; at < BYTES; at += MIB) {
    fill(block, at);
    writeSync(fd, block);
  }
  closeSync(fd);
}

function fillText(block: Buffer, at: number): void {
  let end = 0;
  for (let line = 0; end < block.length; line++) {
    const id = Math.imul(at + line, 2654435761) >>> 0;
    const text = `2026-01-01T00:00:${line % 60}Z 10.0.${id % 256}.${(id >>> 8) % 256} GET /item/${id} 200 ${id % 9973}\n`;
    end += block.write(text, end, "latin1");
  }
}
