/** Commits small files together, a directory and a link; its one argument says where, and how many in how many directories. */
import { DiskSink } from "../../src/sink/disk-sink.ts";

const { dir, durability, files, directories } = JSON.parse(process.argv[2] ?? "{}");
const sink = new DiskSink(dir, { durability });
const mtime = [1_700_000_000, 0] as const;
const staged = Array.from({ length: files }, (_, i) => {
  const content = Buffer.from(`content ${i}`);
  const name = Buffer.from(`d${i % directories}/f${i}`);
  return sink.tree.stage({ id: `p${i}`, name, size: content.length, mtime, mode: 0o644 }, content);
});
const outcomes = await sink.tree.commitStaged(staged);
process.stdout.write(`files ${outcomes.filter((outcome) => outcome instanceof Error).length}\n`);
await sink.tree.makeDirectory({ name: Buffer.from("made/below"), mtime, mode: 0o755 });
process.stdout.write("directory\n");
await sink.tree.makeLink({ name: Buffer.from("links/l"), mtime, mode: 0o777, target: Buffer.from("x") });
process.stdout.write("link\n");
await sink.close();
