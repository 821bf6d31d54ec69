/** A program of its own that puts a file into a directory, for whoever watches its system calls: how, says its argument. */
import { crc32 } from "../../src/protocol/crc32.ts";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import type { Durability } from "../../src/sink/sink.ts";

interface How {
  readonly dir: string;
  readonly name: string;
  readonly durability: Durability;
  readonly hardLinks: boolean;
}
const { dir, name, durability, hardLinks } = JSON.parse(process.argv[2] ?? "") as How;
const content = Buffer.alloc(100_000, "hawser");
const sink = new DiskSink(dir, { durability, hardLinks });
const spec = { id: "p", name: Buffer.from(name), size: content.length, mtime: [1, 0] as const, mode: 0o644 };
const part = await sink.reserve(spec);
part.open();
part.write(0, content);
await part.commit(content.length, crc32(content));
await sink.close();
