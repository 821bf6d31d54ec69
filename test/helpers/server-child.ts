/** A server in a process of its own. Its argument is the options of `serve`; its events go to standard output. */
import { serve } from "../../src/index.ts";

const options = JSON.parse(process.argv[2] ?? "{}");
await serve({ ...options, onEvent: (event) => process.stdout.write(`${JSON.stringify(event)}\n`) });
