/** hawser itself, as it is installed: whole processes of bin/run.js, with no settings but the flags given here, in plain unless said. */
import { fileURLToPath } from "node:url";
import { type Environment, type Finished, type RunOptions, run, Server, type Spawned, start } from "./processes.ts";

const SCRIPT = fileURLToPath(new URL("../../bin/run.js", import.meta.url));

const LISTENING = /^hawser: receiving into .* on (\S+)$/m;

/** Keys are made where configuration is: the client finds the ticket of its own machine there. */
export type Encryption = "encrypted" | "plain";

export interface HawserServer {
  readonly server: Server;
  readonly to: string;
}

/** How a program of hawser is run. */
export interface Way {
  readonly encryption?: Encryption;
  /** What starts it somewhere else, such as in a network namespace. */
  readonly via?: readonly string[];
  /** The address of that place. */
  readonly host?: string;
}

/** `configHome` stands in for the user's configuration directory. */
export async function startHawser(
  directory: string,
  configHome: string,
  flags: readonly string[] = [],
  { encryption = "plain", via = [], host = "127.0.0.1" }: Way = {},
): Promise<HawserServer> {
  const common = ["--port", "0", "--bind", host, ...insecureUnless(encryption)];
  const [command, ...args] = [...via, process.execPath, SCRIPT, "serve", directory, ...common, ...flags] as [string];
  const env = environment(configHome);
  // What it says to people: events of ten thousand files would cost it, and us, more than their names do.
  const server = await Server.start(command, args, ({ stderr }) => LISTENING.test(stderr), env);
  const [, to = ""] = LISTENING.exec(server.stderr) ?? [];
  return { server, to };
}

export function runHawser(
  args: readonly string[],
  configHome: string,
  options: RunOptions = {},
  { encryption = "plain", via = [] }: Way = {},
): Promise<Finished> {
  const [command, ...all] = [...via, process.execPath, SCRIPT, ...args, ...insecureUnless(encryption)] as [string];
  return run(command, all, { ...options, env: environment(configHome) });
}

const insecureUnless = (encryption: Encryption) => (encryption === "plain" ? ["--insecure"] : []);

/** The same, not waited for. */
export function spawnHawser(args: readonly string[], configHome: string): Spawned {
  return start(process.execPath, [SCRIPT, ...args, "--insecure"], environment(configHome));
}

function environment(configHome: string): Environment {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("HAWSER_"));
  return { ...Object.fromEntries(others), XDG_CONFIG_HOME: configHome, XDG_STATE_HOME: configHome };
}
