/**
 * A server in a process of its own. Its argument is the options of `serve`, with `drainMs` for what SIGTERM does; its
 * events go to standard output.
 */
import { serve } from "../../src/index.ts";

const { drainMs = 0, ...options } = JSON.parse(process.argv[2] ?? "{}");
const server = await serve({ ...options, onEvent: (event) => process.stdout.write(`${JSON.stringify(event)}\n`) });
process.once("SIGTERM", () => void server.close({ drainMs }).then(() => process.exit(0)));
