/**
 * Measures from a process of its own. Its argument is the options of `sweep`; what came of it goes to standard output, as
 * {"type": "swept", verdict, error}.
 */
import { sweep } from "../../src/client/sweep.ts";

const { verdict, result } = await sweep(JSON.parse(process.argv[2] ?? "{}"));
process.stdout.write(`${JSON.stringify({ type: "swept", verdict, error: result.error })}\n`);
