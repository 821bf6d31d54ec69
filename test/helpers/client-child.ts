/**
 * A client in a process of its own. Its argument is the options of `send`; its events go to standard output, the last of
 * them {"type": "result"} with the result and the most memory that the process had.
 */
import { send } from "../../src/index.ts";

const options = JSON.parse(process.argv[2] ?? "{}");
const print = (event: unknown) => process.stdout.write(`${JSON.stringify(event)}\n`);
let memoryBytes = 0;
const startBytes = process.memoryUsage.rss();
const result = await send({
  ...options,
  onEvent: (event) => {
    memoryBytes = Math.max(memoryBytes, process.memoryUsage.rss());
    print(event);
  },
});
print({ type: "result", result, grownBytes: Math.max(0, memoryBytes - startBytes) });
