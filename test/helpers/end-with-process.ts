/**
 * What a test's process has started ends with it, also where a signal ends it before any test could clean up: a file that
 * takes too long gets SIGTERM from the runner.
 */
const ends = new Set<() => void>();
const endAll = () => {
  for (const end of ends) end();
};

process.once("exit", endAll);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    endAll();
    // Once more, without this: it does what it would have done.
    process.kill(process.pid, signal);
  });
}

/** Calls `end`, which must be quick, when this process ends; returns what takes that back. */
export function endWithProcess(end: () => void): () => void {
  ends.add(end);
  return () => void ends.delete(end);
}
