/**
 * Whole conversations in process. Of each case one half is a server, over memory or over a directory, with clients that say
 * what no client should and an honest one beside them; the other half is a real client, with servers that do the same.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type SendOptions, send } from "../../src/index.ts";
import { crc32, formatCrc32 } from "../../src/protocol/crc32.ts";
import { add, type Count, describe, FINDINGS_MAX, newCount, type Sitting } from "./campaign.ts";
import { Destination, type Kind } from "./destination.ts";
import { HostileServer } from "./hostile-server.ts";
import { Mutator } from "./mutator.ts";
import { Player } from "./player.ts";
import { Random } from "./random.ts";
import {
  type Layout,
  layScenario,
  recordTapes,
  type Scenario,
  scenarios,
  scratchParent,
  sendOptionsOf,
  type Tape,
} from "./tapes.ts";
import { bytesInUse, Watchdog } from "./watchdog.ts";

/** Of one case, and how many at once. */
const CONVERSATIONS = 24;
const AT_ONCE = 12;
/** An answer comes within a millisecond or so, where the machine has nothing else to do. */
const PATIENCE_MS = 150;
const CLIENTS = 4;

/** How seldom something is changed in a conversation: some are nearly good, and come far. */
const ONE_IN = [1, 2, 4, 8, 16, 40];

/** Another address than the honest client's. */
const HOSTILE = "127.0.0.2";
/** A client gives up on what says nothing; a hostile server drops it long before. */
const CLIENT_TIMEOUT_MS = 3000;
/** All that a case waits for is bounded, and far below this. */
const CASE_MS = 60_000;

const KINDS: readonly Kind[] = ["disk", "disk", "disk", "memory", "memory", "memory", "pipe"];

const CASES_BETWEEN_LOOKS = 25;
/** Opened once, by whatever needs it first: fewer than one case would leave if each left one. */
const DESCRIPTORS_SPARE = 8;
const GROWTH_BYTES_MAX = 48 * 1024 * 1024;

const HONEST: Scenario = {
  name: "honest",
  sent: {
    "honest-1.bin": Buffer.alloc(150_000, "honest"),
    "honest-2": Buffer.from("small"),
    "honest-3/x": Buffer.from("y"),
  },
};

interface Stage {
  readonly seed: number;
  readonly root: string;
  readonly tapes: readonly Tape[];
  readonly scenarios: readonly Scenario[];
  /** Where the files of each scenario lie, to be sent to hostile servers. */
  readonly layouts: readonly Layout[];
  readonly honest: Layout;
  readonly mutator: Mutator;
}

async function makeStage(seed: number): Promise<Stage> {
  const root = mkdtempSync(join(scratchParent(), "hawser-fuzz-"));
  const all = scenarios(seed);
  const tapes = await recordTapes(seed);
  const layouts = all.map((scenario, i) => layScenario(join(root, `sent-${i}`), scenario));
  return {
    seed,
    root,
    tapes,
    scenarios: all,
    layouts,
    honest: layScenario(join(root, "honest"), HONEST),
    mutator: new Mutator(tapes),
  };
}

async function runCase(stage: Stage, number: number, count: Count): Promise<string[]> {
  const random = new Random(stage.seed, number);
  return [...(await fuzzServer(stage, number, random, count)), ...(await fuzzClients(stage, random, count))];
}

async function fuzzServer(stage: Stage, number: number, random: Random, count: Count): Promise<string[]> {
  const wrong: string[] = [];
  const scenario = random.pick(stage.scenarios);
  const root = join(stage.root, `case-${number}`);
  mkdirSync(root);
  // Half of them are what the scenario is about.
  const kind = scenario.isInOrder && random.oneIn(2) ? "pipe" : random.pick(KINDS);
  const destination = await Destination.open(root, scenario, kind, random);
  let to = destination.server.address;
  // A pipe takes one file, and that need not be the honest one.
  const honest =
    kind === "pipe"
      ? undefined
      : send({ ...sendOptionsOf(HONEST, stage.honest, to), compress: "none" }).then(({ ok, error }) => {
          if (!ok) wrong.push(`the honest transfer failed: ${error?.code} ${error?.message}`);
        });
  // Half of them are about what is there.
  const own = stage.tapes.find(({ name }) => name === scenario.name) as Tape;
  const plans = Array.from({ length: CONVERSATIONS }, (_, i) => ({
    tape: random.oneIn(2) ? own : random.pick(stage.tapes),
    oneIn: random.pick(ONE_IN),
    random: new Random(random.word(), i),
  }));
  const play = async (left = 0) => {
    for (let plan = plans.pop(); plan !== undefined; plan = plans.length < left ? undefined : plans.pop()) {
      const played = await new Player({
        to,
        mutator: stage.mutator,
        localAddress: HOSTILE,
        patienceMs: PATIENCE_MS,
        ...plan,
      }).play();
      count.frames += played.frames;
      add(count.more, "conversations of clients");
      if (played.finished) add(count.more, "of these, with a receipt");
    }
  };
  const isReopened = kind === "disk" && random.oneIn(3);
  await Promise.all([honest, ...Array.from({ length: AT_ONCE }, () => play(isReopened ? CONVERSATIONS / 2 : 0))]);
  if (isReopened) {
    // What is unfinished is taken up from the disk, where it is: its clients come again.
    await destination.reopen();
    to = destination.server.address;
    await Promise.all(Array.from({ length: AT_ONCE }, () => play()));
  }
  wrong.push(...(await destination.close()));
  return wrong;
}

async function fuzzClients(stage: Stage, random: Random, count: Count): Promise<string[]> {
  const wrong: string[] = [];
  const runs = Array.from({ length: CLIENTS }, async (_, i) => {
    const which = random.below(stage.tapes.length);
    const tape = stage.tapes[which] as Tape;
    const server = new HostileServer(tape, stage.mutator, new Random(random.word(), i), random.pick(ONE_IN));
    const to = await server.listen();
    const scenario = stage.scenarios[which] as Scenario;
    // Who comes again hears the rest, of another session as like as not.
    const options = { ...sendOptionsOf(scenario, stage.layouts[which] as Layout, to), retries: random.below(3) };
    const [found] = await Promise.all([clientsFindings(options, scenario), server.play().then(() => server.close())]);
    count.frames += server.frames;
    add(count.more, "conversations of servers");
    wrong.push(...found);
  });
  await Promise.all(runs);
  return wrong;
}

/** Whatever the server says, the client tells the truth of what it read, or an error of the table. */
async function clientsFindings(options: SendOptions, { sent, input }: Scenario): Promise<string[]> {
  const wrong: string[] = [];
  const known = new Set<string>();
  for (const content of [...Object.values(sent), ...(input === undefined ? [] : [input])]) {
    if (Buffer.isBuffer(content)) known.add(formatCrc32(crc32(content)));
  }
  const result = await send({
    ...options,
    timeoutMs: CLIENT_TIMEOUT_MS,
    onEvent: (event) => {
      if (event.type !== "file") return;
      const { name, crc32: crc, error, status } = event.file;
      if (error?.code === "E_INTERNAL") wrong.push(`the client says of '${name}': ${error.message}`);
      if (crc !== null && status !== "failed" && !known.has(crc)) {
        wrong.push(`the client says that '${name}' has the CRC-32 ${crc}, which no file has`);
      }
    },
  });
  if (result.error?.code === "E_INTERNAL") wrong.push(`the client says: ${result.error.message}`);
  return wrong;
}

const descriptors = (): number => readdirSync("/proc/self/fd").length;

/** A socket whose other end does not close it is closed after some seconds; only the kernel's list tells of it. */
async function descriptorsLeft(most: number): Promise<number> {
  for (let turn = 0; turn < 200 && descriptors() > most; turn++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  return descriptors();
}

export async function fuzzSessions({ seed, untilMs, frames, only, onFinding }: Sitting): Promise<Count> {
  const count = newCount();
  let number = only ?? 0;
  const report = (what: string) => {
    count.findings++;
    onFinding({ campaign: "sessions", number, what });
  };
  const onStray = (thrown: unknown) => report(`thrown where nobody catches it: ${describe(thrown)}`);
  process.on("uncaughtException", onStray);
  process.on("unhandledRejection", onStray);
  const watchdog = new Watchdog(`sessions, seed ${seed}, case sessions`);
  const stage = await makeStage(seed);
  const fds = descriptors() + DESCRIPTORS_SPARE;
  let inUse: number | undefined;
  try {
    for (; count.findings < FINDINGS_MAX; number++) {
      watchdog.beat(number);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<string[]>((resolve) => {
        timer = setTimeout(() => resolve([`it has not ended in ${CASE_MS / 1000} s`]), CASE_MS);
      });
      try {
        for (const what of await Promise.race([runCase(stage, number, count), late])) report(what);
      } catch (thrown) {
        report(describe(thrown));
      }
      clearTimeout(timer);
      count.cases++;
      if (only !== undefined || count.frames >= frames || performance.now() > untilMs) break;
      if (number % CASES_BETWEEN_LOOKS !== CASES_BETWEEN_LOOKS - 1) continue;
      const left = await descriptorsLeft(fds);
      if (left > fds) report(`${left} descriptors are open, and ${fds} were`);
      const now = bytesInUse();
      inUse ??= now;
      if (now - inUse > GROWTH_BYTES_MAX) report(`${now} bytes are in use, and ${inUse} were`);
    }
  } finally {
    await watchdog.stop();
    process.off("uncaughtException", onStray);
    process.off("unhandledRejection", onStray);
    rmSync(stage.root, { recursive: true, force: true });
  }
  return count;
}
