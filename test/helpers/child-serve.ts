/** A program of its own that serves a directory (its first argument), and says at which port. */
import { serve } from "../../src/server/serve.ts";

const server = await serve({ dir: process.argv[2] ?? ".", port: 0 });
process.stdout.write(`${server.address.port}\n`);
