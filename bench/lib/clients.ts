/**
 * Many clients in one process, all at once, as an ingest server sees them: `node clients.ts HOST:PORT FILE COUNT`. Each sends FILE
 * under a name of its own, over one stream. Prints the seconds from the first connection to the last receipt.
 */
import { send } from "../../src/index.ts";

const [to = "", path = "", count = "1"] = process.argv.slice(2);
const at = to.lastIndexOf(":");
const endpoint = { host: to.slice(0, at), port: Number(to.slice(at + 1)) };
const startedMs = performance.now();
const results = await Promise.all(
  Array.from({ length: Number(count) }, (_, i) => {
    return send({
      paths: [path],
      to: endpoint,
      name: `client-${i}`,
      streams: 1,
      overwrite: "always",
      compress: "none",
    });
  }),
);
const failed = results.find(({ ok }) => !ok);
if (failed !== undefined) throw new Error(failed.error?.message);
process.stdout.write(`${(performance.now() - startedMs) / 1000}\n`);
