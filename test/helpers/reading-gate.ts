/**
 * For `node --import` in a client: what is read through the thread pool, as everything that is read again is, waits for
 * SIGUSR2. What streams send is read at once, and so goes on.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { promisify } from "node:util";

const { read } = fs;
let open = false;
const waiting: (() => void)[] = [];

const gated = (...args: Parameters<typeof read>) => {
  if (open) read(...args);
  else waiting.push(() => read(...args));
};

/** As of the real one: whoever promisifies it gets an object. */
const promised = (...args: unknown[]) =>
  new Promise((resolve, reject) => {
    gated(
      ...([
        ...args,
        (error: Error | null, bytesRead: number, buffer: unknown) =>
          error === null ? resolve({ bytesRead, buffer }) : reject(error),
      ] as unknown as Parameters<typeof read>),
    );
  });

fs.read = Object.assign(gated, { [promisify.custom]: promised, __promisify__: promised }) as unknown as typeof read;
syncBuiltinESMExports();

process.on("SIGUSR2", () => {
  open = true;
  for (const go of waiting.splice(0)) go();
});
