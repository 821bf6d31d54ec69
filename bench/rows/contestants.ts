/**
 * Who moves the file: hawser, and what else is on the machine, each with its own server process, port and directory.
 * Every server is started before anything is timed; `stops` gets how to end each.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { basename, dirname, join } from "node:path";
import { type Encryption, runHawser, startHawser } from "../lib/hawser.ts";
import { accepts, freePort, run, runAgainst, Server } from "../lib/processes.ts";
import type { Contender } from "../lib/rounds.ts";
import { findTool, installHint } from "../lib/tools.ts";
import type { Context } from "./row.ts";

export interface FileContext extends Context {
  readonly scratch: string;
  readonly source: string;
  /** Whether to time what syncs beside what doesn't. */
  readonly synced: boolean;
  /** The source is a directory. */
  readonly isTree?: boolean;
}

export interface FileContender extends Contender {
  /** Removed before each run, compared with the source after the first. */
  readonly target: string;
}

type Stops = (() => Promise<void>)[];

/** Why a program does not take part. */
class Missing extends Error {}

const SOCAT_BLOCK_BYTES = 1024 * 1024;

export async function contestants(
  context: FileContext,
  stops: Stops,
): Promise<{ contenders: FileContender[]; missing: string[] }> {
  const contenders = [await hawser(context, stops), copy(context)];
  if (context.synced) contenders.push(copyAndSync(context));
  const missing: string[] = [];
  for (const [name, make] of Object.entries({ "rsync daemon": rsync, scp, socat })) {
    try {
      contenders.push(await make(context, stops, name));
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      missing.push(`${name}: ${error.message}`);
    }
  }
  return { contenders, missing };
}

const LEVELS = ["none", "commit", "checkpoint", "strict"] as const;

/** Those that encrypt, beside what hawser takes in plain. */
export async function encryptedContestants(
  context: FileContext,
  stops: Stops,
): Promise<{ contenders: FileContender[]; missing: string[] }> {
  const contenders = [
    await hawser(context, stops, "hawser send", [], "encrypted"),
    await hawser(context, stops, "hawser, --tls-streams", ["--tls-streams"], "encrypted"),
    await hawser(context, stops, "hawser, --insecure"),
    copy(context),
  ];
  try {
    return { contenders: [...contenders, await scp(context, stops, "scp, aes128-gcm", AES_128)], missing: [] };
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    return { contenders, missing: [`scp: ${error.message}`] };
  }
}

/** The fastest that OpenSSH has where the processor has AES. */
const AES_128 = "aes128-gcm@openssh.com";

/** Those that send a directory of many small files. */
export async function treeContestants(
  context: FileContext,
  stops: Stops,
): Promise<{ contenders: FileContender[]; missing: string[] }> {
  const contenders = [await hawser(context, stops), copy(context)];
  const missing: string[] = [];
  for (const [name, make] of Object.entries({ "rsync daemon": rsync, "tar, socat, tar": tarOverSocat })) {
    try {
      contenders.push(await make(context, stops, name));
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      missing.push(`${name}: ${error.message}`);
    }
  }
  return { contenders, missing };
}

/** hawser alone, once for each level of durability. */
export function durabilities(context: FileContext, stops: Stops): Promise<FileContender[]> {
  return Promise.all(LEVELS.map((level) => hawser(context, stops, level, ["--durability", level])));
}

async function hawser(
  { scratch, source, streams, bytes, isTree = false }: FileContext,
  stops: Stops,
  name = "hawser send",
  flags: readonly string[] = [],
  encryption: Encryption = "plain",
): Promise<FileContender> {
  const served = directory(scratch, `hawser-${encryption}-${flags.at(-1) ?? "default"}`);
  const { server, to } = await startHawser(served, scratch, flags, { encryption });
  stops.push(() => server.stop());
  // The others don't say the name of every file.
  const quiet = isTree ? ["--quiet"] : [];
  const args = ["send", source, "--to", to, "--streams", String(streams), ...quiet];
  return {
    name,
    target: join(served, basename(source)),
    run: async () => {
      const { seconds, cpu } = await runAgainst(server, () => runHawser(args, scratch, {}, { encryption }));
      return { seconds, bytes, cpu };
    },
  };
}

function copy({ scratch, source, bytes, isTree = false }: FileContext): FileContender {
  const target = join(scratch, "copied.bin");
  const flags = isTree ? ["-r"] : [];
  return { name: isTree ? "cp -r" : "cp", target, run: () => local("cp", [...flags, source, target], bytes) };
}

/** What hawser's default durability does too: the data is on the disk when the command ends. */
function copyAndSync({ scratch, source, bytes }: FileContext): FileContender {
  const target = join(scratch, "synced.bin");
  const args = ["-c", 'cp "$1" "$2" && sync "$2"', "sh", source, target];
  return { name: "cp, then sync FILE", target, run: () => local("sh", args, bytes) };
}

async function local(command: string, args: readonly string[], bytes: number) {
  const { seconds, cpuSeconds } = await run(command, args);
  return { seconds, bytes, cpu: { client: cpuSeconds, server: null } };
}

async function rsync(context: FileContext, stops: Stops, name: string): Promise<FileContender> {
  const { scratch, source, bytes, isTree = false } = context;
  const command = findTool("rsync");
  if (command === undefined) throw new Missing(installHint("rsync"));
  const [into, port, config] = [directory(scratch, "rsync"), await freePort(), join(scratch, "rsyncd.conf")];
  const { uid, gid } = userInfo();
  const lines = ["use chroot = no", "[in]", `path = ${into}`, "read only = no"];
  // It would become `nobody`, who may not write here.
  if (uid === 0) lines.push(`uid = ${uid}`, `gid = ${gid}`);
  writeFileSync(config, `${lines.join("\n")}\n`);
  const args = ["--daemon", "--no-detach", `--config=${config}`, "--address=127.0.0.1", `--port=${port}`];
  const server = await started(stops, command, [...args, `--log-file=${join(scratch, "rsyncd.log")}`], port);
  const send = ["--whole-file", ...(isTree ? ["-a"] : []), source, `rsync://127.0.0.1:${port}/in/`];
  return {
    name,
    target: join(into, basename(source)),
    run: async () => {
      const { seconds, cpu } = await runAgainst(server, () => run(command, send));
      return { seconds, bytes, cpu };
    },
  };
}

async function scp(
  { scratch, source, bytes }: FileContext,
  stops: Stops,
  name: string,
  cipher?: string,
): Promise<FileContender> {
  const [client, daemon, keygen] = ["scp", "sshd", "ssh-keygen"].map(findTool);
  if (client === undefined || daemon === undefined || keygen === undefined) {
    throw new Missing(installHint("openssh-client openssh-server"));
  }
  const [home, port, into] = [directory(scratch, "ssh"), await freePort(), directory(scratch, "scp")];
  const file = (base: string) => join(home, base);
  for (const key of ["host", "user"]) await run(keygen, ["-q", "-t", "ed25519", "-N", "", "-f", file(key)]);
  const config = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${file("host")}`,
    `AuthorizedKeysFile ${file("user.pub")}`,
    `PidFile ${file("sshd.pid")}`,
    "StrictModes no",
    "PermitRootLogin yes",
    "UsePAM no",
    "PasswordAuthentication no",
    "Subsystem sftp internal-sftp",
  ];
  writeFileSync(file("sshd_config"), `${config.join("\n")}\n`);
  let server: Server;
  try {
    server = await started(stops, daemon, ["-D", "-e", "-f", file("sshd_config")], port);
  } catch (error) {
    throw new Missing(`its server can't be started: ${(error as Error).message}`);
  }
  const options = [`IdentityFile=${file("user")}`, `UserKnownHostsFile=${file("known")}`];
  options.push("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=accept-new", "LogLevel=ERROR");
  if (cipher !== undefined) options.push(`Ciphers=${cipher}`);
  const target = join(into, "source.bin");
  const args = ["-q", "-F", "none", "-P", String(port), ...options.flatMap((option) => ["-o", option])];
  const send = [...args, source, `${userInfo().username}@127.0.0.1:${target}`];
  return {
    name,
    target,
    run: async () => {
      const { seconds, cpu } = await runAgainst(server, () => run(client, send));
      return { seconds, bytes, cpu };
    },
  };
}

async function socat({ scratch, source, bytes }: FileContext, stops: Stops, name: string): Promise<FileContender> {
  const command = findTool("socat");
  if (command === undefined) throw new Missing(installHint("socat"));
  const [port, target] = [await freePort(), join(directory(scratch, "socat"), "source.bin")];
  const block = ["-u", "-b", String(SOCAT_BLOCK_BYTES)];
  const listen = [...block, `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`, `OPEN:${target},creat,trunc`];
  const server = await started(stops, command, listen, port);
  const send = [...block, `OPEN:${source},rdonly`, `TCP:127.0.0.1:${port}`];
  // The client is told nothing by the server: the file is whole when the server's child is gone.
  const until = () => server.alone(1);
  return {
    name,
    target,
    run: async () => {
      const { seconds, cpu } = await runAgainst(server, () => run(command, send, { until }));
      return { seconds, bytes, cpu };
    },
  };
}

/** What people do by hand. The receiving tar is started for each connection by the listening socat. */
async function tarOverSocat(
  { scratch, source, bytes }: FileContext,
  stops: Stops,
  name: string,
): Promise<FileContender> {
  const command = findTool("socat");
  if (command === undefined) throw new Missing(installHint("socat"));
  const [port, into] = [await freePort(), directory(scratch, "tar")];
  const listen = ["-u", `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`, `EXEC:tar x -C ${into}`];
  const server = await started(stops, command, listen, port);
  const script = 'cd "$1" && tar c "$2" | socat -u - TCP:127.0.0.1:"$3"';
  const send = ["-c", script, "sh", dirname(source), basename(source), String(port)];
  const until = () => server.alone(1);
  return {
    name,
    target: join(into, basename(source)),
    run: async () => {
      const { seconds, cpu } = await runAgainst(server, () => run("sh", send, { until }));
      return { seconds, bytes, cpu };
    },
  };
}

async function started(stops: Stops, command: string, args: readonly string[], port: number): Promise<Server> {
  const server = await Server.start(command, args, () => accepts(port));
  stops.push(() => server.stop());
  // It has a child for the connection that asked whether it is there.
  await server.alone();
  return server;
}

function directory(scratch: string, name: string): string {
  const path = join(scratch, name);
  mkdirSync(path);
  return path;
}
