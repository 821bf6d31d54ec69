/**
 * A transfer without sockets, files and time: streams that ask what to do with each chunk, threads that compress, a path
 * that carries so much. What it takes is reckoned, so that a decision can be judged by what came of it.
 */
import type { Compression } from "../../src/source/compression.ts";

const MIB = 1024 * 1024;

export interface SimulatedPath {
  readonly chunks: number;
  readonly chunkBytes?: number;
  readonly streams?: number;
  /** Bytes a millisecond that the path carries at a time. */
  readonly pathRate: (ms: number) => number;
  /** Bytes a millisecond that the ends move when nothing else holds them up (1e6: a gigabyte a second). */
  readonly endsRate?: number;
  /** Threads that compress at once, and how fast each is, in bytes a millisecond (2 and 400,000). */
  readonly workers?: number;
  readonly workerRate?: number;
  /** How far a chunk can be compressed, by its number: 0.1 is to a tenth. */
  readonly ratio: (chunk: number) => number;
  readonly latencyMs?: number;
}

export interface Simulated {
  readonly ms: number;
  readonly bytesOnWire: number;
  readonly compressed: number;
  readonly samples: number;
  /** Which chunks were compressed. */
  readonly how: boolean[];
}

const SAMPLE_BYTES = 128 * 1024;
/** Chunks that a stream has under way before the path has taken them. */
const AHEAD = 4;

export function simulate(compression: Compression, path: SimulatedPath): Simulated {
  const { chunks, chunkBytes = MIB, streams = 4, pathRate, endsRate = 1e6, ratio, latencyMs = 1 } = path;
  const { workers = 2, workerRate = 400_000 } = path;
  const events: { at: number; run: (now: number) => void }[] = [];
  const at = (time: number, run: (now: number) => void) => {
    const index = events.findIndex((event) => event.at > time);
    events.splice(index === -1 ? events.length : index, 0, { at: time, run });
  };
  const workersFree = Array.from({ length: workers }, () => 0);
  let endsFree = 0;
  let pathFree = 0;
  let next = 0;
  let acknowledged = 0;
  const came = { ms: 0, bytesOnWire: 0, compressed: 0, samples: 0, how: [] as boolean[] };

  const onThread = (now: number, bytes: number): number => {
    const index = workersFree.indexOf(Math.min(...workersFree));
    const until = Math.max(now, workersFree[index] as number) + bytes / workerRate;
    workersFree[index] = until;
    return until;
  };
  const carry = (now: number, wireBytes: number) => {
    came.bytesOnWire += wireBytes;
    pathFree = Math.max(now, pathFree) + wireBytes / pathRate(now);
    at(pathFree, (then) => deal(then));
    at(pathFree + latencyMs, (then) => {
      acknowledged++;
      came.ms = then;
      compression.acknowledged(chunkBytes, wireBytes, then);
    });
  };
  const deal = (now: number) => {
    if (next === chunks) return;
    const chunk = next++;
    const attempt = compression.attempt(chunkBytes, now);
    came.how[chunk] = attempt === "yes";
    endsFree = Math.max(now, endsFree) + chunkBytes / endsRate;
    at(endsFree, (read) => {
      if (attempt !== "yes") {
        if (attempt === "sample") {
          came.samples++;
          const compressedBytes = SAMPLE_BYTES * ratio(chunk);
          const until = onThread(read, SAMPLE_BYTES);
          at(until, (then) => compression.sampled({ bytes: SAMPLE_BYTES, compressedBytes, ms: then - read }));
        }
        carry(read, chunkBytes);
        return;
      }
      came.compressed++;
      const compressedBytes = chunkBytes * ratio(chunk);
      at(onThread(read, chunkBytes), (then) => {
        compression.compressed({ bytes: chunkBytes, compressedBytes, ms: then - read }, then);
        carry(then, Math.min(compressedBytes, chunkBytes));
      });
    });
  };
  for (let i = 0; i < streams * AHEAD; i++) deal(0);
  for (let event = events.shift(); event !== undefined; event = events.shift()) event.run(event.at);
  if (acknowledged !== chunks) throw new Error(`${acknowledged} of ${chunks} chunks arrived`);
  return came;
}
