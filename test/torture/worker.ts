/** Runs cases, one at a time, as main.ts says. In a process of its own: a case may take its process with it. */
import { type Campaign, Case, type CaseReport, type Setting } from "./case.ts";
import { runCuts } from "./cuts.ts";
import { runKills } from "./kills.ts";
import { runSchedule } from "./schedules.ts";

export interface Task {
  readonly setting: Setting;
  readonly campaign: Campaign;
  readonly number: number;
}

const RUNS: Record<Campaign, (it: Case) => Promise<void>> = { kills: runKills, schedules: runSchedule, cuts: runCuts };

/** Far more than any case takes. */
const WATCHDOG_MS = 120_000;

async function run({ setting, campaign, number }: Task): Promise<CaseReport> {
  const it = new Case(setting, campaign, number);
  const hung = Promise.withResolvers<true>();
  const watchdog = setTimeout(() => hung.resolve(true), WATCHDOG_MS);
  const work = RUNS[campaign](it).then(
    () => false,
    (error: Error) => {
      it.fail("other", error.stack ?? String(error));
      return false;
    },
  );
  const isHung = await Promise.race([work, hung.promise]);
  clearTimeout(watchdog);
  if (isHung) it.fail("hung", `it went on for ${WATCHDOG_MS / 1000} s`);
  await it.end();
  return it.report;
}

process.on("message", async (task: Task) => {
  process.send?.(await run(task));
});
process.on("disconnect", () => process.exit());
