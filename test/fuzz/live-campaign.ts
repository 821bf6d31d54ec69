/**
 * Against a server in a process of its own, over loopback: conversations that are changed, and assaults of other kinds, many
 * at once, beside an honest client that transfers again and again. The server must go on, hold no more than it may, and
 * serve the honest one.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type ServerEvent, send } from "../../src/index.ts";
import { crowd, flood, garbage } from "./assaults.ts";
import { add, type CampaignName, type Count, describe, FINDINGS_MAX, newCount, type Sitting } from "./campaign.ts";
import { makeKeys } from "./keys.ts";
import { LiveServer } from "./live-server.ts";
import { Mutator } from "./mutator.ts";
import { Player } from "./player.ts";
import { Random } from "./random.ts";
import { layScenario, recordTapes, type Scenario, scratchParent, sendOptionsOf } from "./tapes.ts";
import { brokenHandshake, garbageInside, recordClientHello, wrongProof } from "./tls-assaults.ts";
import { Watchdog } from "./watchdog.ts";
import type { Target } from "./way-in.ts";

const AT_ONCE = 16;
/** The server is busy with others. */
const PATIENCE_MS = 1000;
const ONE_IN = [1, 2, 4, 8, 16, 40];
/** Openings of conversations that prove nothing; and none, most often. */
const UNPROVEN_ONE_IN = [4, ...Array<number>(7).fill(Number.POSITIVE_INFINITY)];

/** Blocks for chunks are kept, 64 MiB of them; the rest is Node, and what a few dozen sessions hold. */
const SERVER_BYTES_MAX = 768 * 1024 * 1024;
/** Its own limit of connections, and what files, databases and the system take. */
const DESCRIPTORS_MAX = 1024 + 128;
/** What it had before all this, and what it has when all are gone. */
const DESCRIPTORS_SPARE = 16;
const LOOK_MS = 500;
/** What hostile clients got committed is thrown away now and then: the disk is not what is tested. */
const CLEANING_MS = 10_000;
/** A session outlives its connections for as long as it may linger, and a closing connection for two seconds. */
const QUIET_MS = 8000;

const HONEST: Scenario = {
  name: "honest",
  sent: {
    "honest-1.bin": Buffer.alloc(1_000_000, "honest!"),
    "honest-2": Buffer.from("small"),
    "honest-3/x": Buffer.from("y"),
  },
  options: { overwrite: "always", timeoutMs: 60_000, compress: "none" },
};

/** In plain, as a server with --insecure listens. */
export const fuzzLive = (sitting: Sitting): Promise<Count> => fuzz("live", sitting);
/** The server's default way in: TLS, and a ticket for whoever may come. */
export const fuzzTls = (sitting: Sitting): Promise<Count> => fuzz("tls", sitting);

async function fuzz(campaign: CampaignName, sitting: Sitting): Promise<Count> {
  const { seed, untilMs, frames, only, onFinding } = sitting;
  const count = newCount();
  let number = only ?? 0;
  const report = (what: string, at = number) => {
    count.findings++;
    onFinding({ campaign, number: at, what });
  };
  const root = mkdtempSync(join(scratchParent(), "hawser-fuzz-"));
  const to = join(root, "to");
  mkdirSync(to);
  writeFileSync(join(root, "outside.txt"), "not to be touched");
  const outside = () => [...readdirSync(root).sort(), readFileSync(join(root, "outside.txt"), "utf8")].join("\n");
  const onEvent = (event: ServerEvent) => {
    if ("code" in event && event.code === "E_INTERNAL") report(JSON.stringify(event));
    if (event.type === "ended" || event.type === "refused") add(count.more, event.code);
  };
  const tapes = await recordTapes(seed);
  const mutator = new Mutator(tapes);
  const honest = layScenario(join(root, "honest"), HONEST);
  const watchdog = new Watchdog(`${campaign}, seed ${seed}, case ${campaign}`);
  const keys = campaign === "tls" ? await makeKeys(join(root, "state")) : undefined;
  const clientHello = await recordClientHello();
  const outsideBefore = outside();
  const server = await LiveServer.start(
    { secure: keys?.server, dir: to, durability: "none", sessionTtlMs: 1000, maxFileBytes: 4 * 1024 * 1024 },
    onEvent,
  );
  const atFirst = server.look();
  let isOver = false;
  const isEnough = () =>
    isOver ||
    count.findings >= FINDINGS_MAX ||
    performance.now() > untilMs ||
    count.frames >= frames ||
    server.hasEnded;

  const assail = async () => {
    while (!isEnough() && (only === undefined || count.cases === 0)) {
      const own = number++;
      count.cases++;
      watchdog.beat(own);
      const random = new Random(seed, own);
      // An address for each, as a crowd of clients has: what one address may do is limited.
      const localAddress = `127.${1 + random.below(250)}.${random.below(256)}.${1 + random.below(250)}`;
      const target: Target = {
        to: server.to,
        localAddress,
        ...(keys === undefined ? {} : { ticket: random.pick(keys.hostile) }),
      };
      try {
        const kind = random.below(16);
        if (keys !== undefined && random.oneIn(3)) count.frames += await assailTls(target, random);
        else if (kind === 0) {
          await garbage(target, random);
          add(count.more, "connections with garbage");
        } else if (kind === 1 && random.oneIn(4)) {
          add(count.more, "connections in crowds", await crowd(target, random));
        } else if (kind < 8) {
          count.frames += await flood(target, mutator, random);
          add(count.more, "floods");
        } else {
          const tape = random.pick(tapes);
          const player = new Player({
            ...target,
            tape,
            mutator,
            random,
            oneIn: random.pick(ONE_IN),
            unprovenOneIn: random.pick(UNPROVEN_ONE_IN),
            patienceMs: PATIENCE_MS,
          });
          const played = await player.play();
          count.frames += played.frames;
          add(count.more, "conversations");
          if (played.finished) add(count.more, "of these, with a receipt");
        }
      } catch (thrown) {
        report(describe(thrown), own);
      }
    }
  };

  const assailTls = async (target: Target, random: Random): Promise<number> => {
    switch (random.below(3)) {
      case 0:
        add(count.more, "broken handshakes");
        await brokenHandshake(target, clientHello, random);
        return 0;
      case 1:
        add(count.more, "connections with garbage inside TLS");
        await garbageInside(target, random);
        return 0;
      default:
        add(count.more, "connections with a wrong proof");
        return wrongProof(target, random);
    }
  };

  const serveHonest = async () => {
    do {
      const startMs = performance.now();
      const { ok, error } = await send({ ...sendOptionsOf(HONEST, honest, server.to), secure: keys?.honest });
      if (!ok) report(`the honest transfer failed: ${error?.code} ${error?.message}`);
      for (const [name, content] of Object.entries(HONEST.sent)) {
        if (ok && !readFileSync(join(to, name)).equals(content as Buffer)) report(`'${name}' is not what was sent`);
      }
      add(count.more, "honest transfers");
      const ms = Math.ceil(performance.now() - startMs);
      count.more["ms of the slowest honest transfer"] = Math.max(
        count.more["ms of the slowest honest transfer"] ?? 0,
        ms,
      );
      await delay(50);
    } while (!isEnough());
  };

  const look = async () => {
    let cleanedMs = performance.now();
    while (!isEnough()) {
      await delay(LOOK_MS);
      if (server.hasEnded) break;
      const { bytes, descriptors } = server.look();
      count.more["MiB of the server, at most"] = Math.max(
        count.more["MiB of the server, at most"] ?? 0,
        Math.ceil(bytes / 2 ** 20),
      );
      count.more["descriptors, at most"] = Math.max(count.more["descriptors, at most"] ?? 0, descriptors);
      if (bytes > SERVER_BYTES_MAX) report(`the server holds ${bytes} bytes`);
      if (descriptors > DESCRIPTORS_MAX) report(`the server holds ${descriptors} descriptors`);
      if (outside() !== outsideBefore) report(`outside something changed: ${outside()}`);
      if (performance.now() - cleanedMs < CLEANING_MS) continue;
      cleanedMs = performance.now();
      clean(to);
    }
  };

  try {
    const looking = look();
    const assailing = Promise.all(Array.from({ length: only === undefined ? AT_ONCE : 1 }, assail)).then(() => {
      isOver = true;
    });
    await Promise.all([serveHonest(), assailing]);
    await looking;
    if (!server.hasEnded) {
      const quietMs = performance.now() + QUIET_MS;
      while (performance.now() < quietMs && server.look().descriptors > atFirst.descriptors + DESCRIPTORS_SPARE)
        await delay(200);
      const { descriptors } = server.look();
      if (descriptors > atFirst.descriptors + DESCRIPTORS_SPARE) {
        report(`${descriptors} descriptors are open when all are gone, and ${atFirst.descriptors} were`);
      }
      if (outside() !== outsideBefore) report(`outside something changed: ${outside()}`);
    }
    if (server.hasEnded) report(`the server: ${await server.exited}`);
    if (server.stderr !== "") report(`the server says: ${server.stderr}`);
  } finally {
    await server.stop();
    await watchdog.stop();
    rmSync(root, { recursive: true, force: true });
  }
  return count;
}

/** What was received, but for the honest client's and the server's own. */
function clean(dir: string): void {
  for (const name of readdirSync(dir, { encoding: "buffer" })) {
    const text = name.toString();
    if (text === ".hawser" || text.startsWith("honest-")) continue;
    rmSync(Buffer.concat([Buffer.from(`${dir}/`), name]), { recursive: true, force: true });
  }
}
