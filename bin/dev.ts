/** The same program straight from its sources: `npm run dev -- send ...`. */
import { main } from "../src/commands/main.ts";

void main(process.argv.slice(2));
