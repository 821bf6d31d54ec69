/**
 * Faults: a directory swapped for a symlink or a FIFO while files are committed, by a local user who may write to the
 * served directory. Nothing is written outside, what is committed is exact, what failed says so, and the server goes on.
 * HAWSER_FLIP_MS says for how long (15000 for the whole of it), HAWSER_FLIP_SEED with which seed.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { FileResult, SendOptions } from "../../src/index.ts";
import type { Flips } from "../helpers/child-flip.ts";
import { assertOk, sendAll, startServerChild } from "../helpers/e2e.ts";
import { contentOf, KIB, makeFile, partsIn } from "../helpers/files.ts";
import { readTree } from "../helpers/trees.ts";
import { soonHolds } from "../helpers/wire-end.ts";

const FLIP_MS = Number(process.env["HAWSER_FLIP_MS"] ?? 3000);
const SEED = Number(process.env["HAWSER_FLIP_SEED"] ?? 1);
const CHUNK = 64 * KIB;
const FLIP = fileURLToPath(new URL("../helpers/child-flip.ts", import.meta.url));

/** By the last part of its name: where it lies may have been moved. */
const seedOf = (name: string) => [...name].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) >>> 0, 7);
const sizeOf = (name: string) => (name.startsWith("large") ? 5 * CHUNK + 123 : 500);
const exact = (name: string) => contentOf(sizeOf(name), seedOf(name));

/** What a hostile local user can bring about; nothing of it is a bug, or the network's. */
const ALLOWED = new Set(["E_NOT_DIRECTORY", "E_EXISTS", "E_IO", "E_CONTENT"]);

t.test("a directory flipped for a link and a FIFO while files are committed", async (t) => {
  const root = t.testdir({ from: {}, to: {}, outside: { inner: {}, secret: "not yours" } });
  const [from, to, outside] = ["from", "to", "outside"].map((name) => join(root, name)) as [string, string, string];
  const directories = ["d0", "d1", "d2/e", "d2/e/f"].map((name) => join(to, name));
  for (const path of directories) mkdirSync(path, { recursive: true });
  const files = ["d3/small0", "d3/large0"].map((name) => join(to, name));
  mkdirSync(join(to, "d3"));
  const fifo = join(root, "fifo");
  execFileSync("mkfifo", [fifo]);
  chmodSync(join(outside, "inner"), 0o711);
  for (const name of ["inner", "secret", ""]) utimesSync(join(outside, name), 1_600_000_000, 1_600_000_000);
  const before = [readTree(outside), lstatSync(outside).mtimeMs, lstatSync(outside).mode];

  const server = await startServerChild(t, to, { durability: "commit", sessionTtlMs: 1000 });
  const flips: Flips = { directories, files, outside, secret: join(outside, "secret"), fifo, ms: FLIP_MS, seed: SEED };
  const attacker = spawn(process.execPath, [FLIP, JSON.stringify(flips)], { stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(() => void attacker.kill("SIGKILL"));
  let said = "";
  attacker.stdout.on("data", (data) => {
    said += data;
  });
  const attackEnded = once(attacker, "close");
  let over = false;
  void attackEnded.then(() => {
    over = true;
  });

  const OVERWRITE = ["never", "always", "if-different", "rename"] as const;
  const results: FileResult[] = [];
  for (let run = 0; !over; run++) {
    const source = join(from, `run${run}`);
    for (const place of ["d0", "d1", "d2/e", "d2/e/f", "d3"]) {
      for (const name of ["large0", "small0", "small1", `large-${run}`, `small-${run}`, "inner/small2", "secret"])
        makeFile(join(source, place, name), sizeOf(basename(name)), seedOf(basename(name)));
      for (let i = 0; i < 5; i++) makeFile(join(source, place, `new${run}/n${i}/small${i}`), 500, seedOf(`small${i}`));
      symlinkSync("target", join(source, place, "link"));
      mkdirSync(join(source, place, `empty${run}`));
    }
    const overwrite = OVERWRITE[run % OVERWRITE.length] ?? "never";
    const options: SendOptions = {
      paths: [`${source}/`],
      to: server.to,
      chunkBytes: CHUNK,
      overwrite,
      delta: run % 3 === 0 && (overwrite === "always" || overwrite === "if-different"),
      timeoutMs: 20_000,
    };
    const sent = await sendAll(options);
    results.push(...sent.files);
    t.ok(
      sent.result.ok || sent.result.error?.code === "E_PARTIAL",
      `run ${run}: ${sent.result.error?.message ?? "all arrived"}`,
    );
  }
  await attackEnded;
  t.ok(Number(said) > 100, `flipped ${said.trim()} times, seed ${SEED}`);

  t.same(
    [readTree(outside), lstatSync(outside).mtimeMs, lstatSync(outside).mode],
    before,
    "nothing is changed outside",
  );
  t.same(
    new Set(results.filter(({ error }) => !ALLOWED.has(error?.code ?? "E_EXISTS")).map(({ error }) => error)),
    new Set(),
  );
  const failed = results.filter(({ status }) => status === "failed").length;
  const kept = results.length - failed;
  t.ok(kept > 0, `${kept} came, ${failed} failed`);
  t.comment(`${kept} came, ${failed} failed, ${said.trim()} flips`);
  let looked = 0;
  for (const entry of readdirSync(to, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.parentPath.includes("/.hawser")) continue;
    const content = readFileSync(join(entry.parentPath, entry.name));
    if (content.toString("latin1") === "the attacker's") continue;
    // "secret (1)" is another one with the content of the first.
    const name = entry.name.replace(/ \(\d+\)/g, "");
    looked++;
    if (!content.equals(exact(name))) t.fail(`${entry.parentPath}/${entry.name} is exact`);
  }
  t.ok(looked > 0, `${looked} files are exact`);

  for (const path of directories) mkdirSync(path, { recursive: true });
  writeFileSync(join(from, "after"), "after");
  assertOk(
    t,
    await sendAll({
      paths: [join(from, "after"), join(from, "run0")],
      to: server.to,
      into: "after",
      chunkBytes: CHUNK,
    }),
  );
  // What the last transfers left unfinished goes when its time is up.
  await soonHolds("nothing is left in staging", () => partsIn(to).length === 0);
  t.equal(server.process.exitCode, null, "the server goes on");
});
