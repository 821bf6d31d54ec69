/** Commits small files together, a directory and a link; its one argument says where, and how many in how many directories, new ones or not. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DiskSink } from "../../src/sink/disk-sink.ts";

const { dir, durability, files, directories, areThere } = JSON.parse(process.argv[2] ?? "{}");
const sink = new DiskSink(dir, { durability });
const mtime = [1_700_000_000, 0] as const;
if (areThere) for (let i = 0; i < directories; i++) mkdirSync(join(dir, `d${i}`));
const batch = sink.tree.batch();
for (let i = 0; i < files; i++) {
  const content = Buffer.from(`content ${i}`);
  const name = Buffer.from(`d${i % directories}/f${i}`);
  batch.stage({ id: `p${i}`, name, size: content.length, mtime, mode: 0o644 }, content);
}
const outcomes = await batch.commit();
process.stdout.write(`files ${outcomes.filter((outcome) => outcome instanceof Error).length}\n`);
await sink.tree.makeDirectory({ name: Buffer.from("made/below"), mtime, mode: 0o755 });
process.stdout.write("directory\n");
await sink.tree.makeLink({ name: Buffer.from("links/l"), mtime, mode: 0o777, target: Buffer.from("x") });
process.stdout.write("link\n");
await sink.close();
