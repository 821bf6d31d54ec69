/** Contenders take turns in one run, so that what else the machine does hits all of them alike. */
import type { CpuSeconds } from "./processes.ts";

export interface Sample {
  readonly seconds: number;
  readonly bytes: number;
  readonly cpu: CpuSeconds;
}

export interface Contender {
  readonly name: string;
  /** Before each run, outside the time. */
  prepare?(): void | Promise<void>;
  run(): Promise<Sample>;
  /** Once, after the first run. Throws where the result is wrong. */
  verify?(): Promise<void>;
}

export interface Measured {
  readonly name: string;
  readonly samples: readonly Sample[];
}

/**
 * One round that is checked and not counted, then `rounds` that are. Each begins with another contender than the one
 * before.
 */
export async function takeTurns(
  contenders: readonly Contender[],
  rounds: number,
  say: (text: string) => void,
): Promise<Measured[]> {
  const measured = contenders.map(({ name }) => ({ name, samples: [] as Sample[] }));
  for (let round = 0; round <= rounds; round++) {
    say(round === 0 ? "warming up and verifying" : `round ${round} of ${rounds}`);
    for (let turn = 0; turn < contenders.length; turn++) {
      const at = (turn + round) % contenders.length;
      const contender = contenders[at] as Contender;
      await contender.prepare?.();
      const sample = await contender.run();
      if (round === 0) await contender.verify?.();
      else measured[at]?.samples.push(sample);
    }
  }
  return measured;
}
