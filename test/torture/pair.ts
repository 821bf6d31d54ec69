/** A server and a client at one case's files, through all the deaths and returns of either. */
import type { Case } from "./case.ts";
import { Destination, pathsOf, type SourceFile } from "./files.ts";
import { type CallMoment, Client, type Exit, freePort, type Receipt, Server } from "./programs.ts";

export interface PairOptions {
  readonly served: string;
  readonly sources: readonly SourceFile[];
  readonly durability: string;
  readonly streams: number;
  readonly chunkBytes: number;
  readonly timeoutMs: number;
  readonly trustsMtime?: boolean;
  /** Beside those of a lost server, how a transfer may fail while it is harmed. */
  readonly passing?: readonly string[];
}

/** How a transfer may end when the server was away for a while: it can be taken up again. */
const PASSING = new Set(["E_UNREACHABLE", "E_LOST", "E_TIMEOUT", "E_NO_ANSWER", "E_SHUTTING_DOWN"]);

export class Pair {
  readonly #case: Case;
  readonly #options: PairOptions;
  readonly port: number;
  /** Where the client dials: the server's port, or that of a proxy before it. */
  dialled: number;
  server: Server | undefined;
  client: Client | undefined;
  /** One for each transfer: the last is that of the one under way. */
  readonly #destinations: Destination[] = [];
  /** Whether the transfer under way has to find something of what came before. */
  expectsResumed = false;
  /** Whether the client lost its server, so that it may give up. */
  #isHarmed = false;

  private constructor(it: Case, options: PairOptions, port: number) {
    this.#case = it;
    this.#options = options;
    this.port = port;
    this.dialled = port;
    this.#addDestination();
  }

  static async make(it: Case, options: PairOptions): Promise<Pair> {
    it.note(`durability ${options.durability}`);
    return new Pair(it, options, await freePort());
  }

  /** Each transfer has a directory of its own; the first has the served one. */
  get #into(): string {
    return intoOf(this.#completed);
  }

  get #completed(): number {
    return this.#destinations.length - 1;
  }

  get #destination(): Destination {
    return this.#destinations.at(-1) as Destination;
  }

  #addDestination(): void {
    const { served, sources } = this.#options;
    this.#destinations.push(new Destination(this.#case, served, intoOf(this.#destinations.length), sources));
  }

  /** Whatever was promised so far is so. */
  check(when: string): void {
    for (const destination of this.#destinations) destination.check(when);
  }

  afterCut(): void {
    for (const destination of this.#destinations) destination.afterCut();
  }

  /** Until it listens, or has died at a call before it does: then the pair has none. */
  async startServer(moment?: CallMoment): Promise<Server> {
    const { served, durability } = this.#options;
    const server = new Server(this.#case, { dir: served, port: this.port, durability }, moment);
    this.server = server;
    if (await server.listening) return server;
    const { code, signal } = await server.exited;
    if (signal !== "SIGKILL") throw new Error(`the server did not start: ${code}: ${server.errors}`);
    this.server = undefined;
    return server;
  }

  startClient(moment?: CallMoment): Client {
    const destination = this.#destination;
    const { sources, streams, chunkBytes, timeoutMs, trustsMtime = false } = this.#options;
    const paths = pathsOf(sources);
    const send = { paths, port: this.dialled, streams, chunkBytes, timeoutMs, trustsMtime, into: this.#into };
    this.#isHarmed = false;
    this.client = new Client(this.#case, send, (file) => destination.heard(file), moment);
    return this.client;
  }

  async killServer(): Promise<void> {
    const server = this.server;
    this.server = undefined;
    this.#isHarmed = true;
    await server?.kill();
  }

  /** Of no effect on one that ended by itself meanwhile. */
  async killClient(): Promise<void> {
    if ((await this.client?.kill())?.signal === "SIGKILL") this.client = undefined;
  }

  /** Asks it to stop. Returns whether it was killed at a call instead. */
  async stopServer(): Promise<boolean> {
    const server = this.server as Server;
    this.server = undefined;
    const { code, signal } = await server.stop();
    if (signal === "SIGKILL") return true;
    if (code !== 0) this.#case.fail("other", `serve ended with ${signal ?? code}: ${server.errors}`);
    return false;
  }

  /** To be called when the client ended by itself. */
  clientEnded({ code, signal }: Exit): void {
    const client = this.client as Client;
    const it = this.#case;
    this.client = undefined;
    const receipt = receiptOf(client);
    if (code === 0 && receipt?.ok === true) {
      this.check("after exit 0");
      this.#destination.checkComplete(receipt.files);
      it.count("transfers");
      if (receipt.bytesResumed > 0) it.count("transfers that resumed bytes");
      if (this.expectsResumed) {
        it.count("transfers after a checkpoint");
        if (receipt.bytesResumed === 0) it.fail("other", "nothing was resumed of what a checkpoint had");
      }
      this.expectsResumed = false;
      this.#addDestination();
      return;
    }
    const error = receipt?.error?.code ?? "";
    if (this.#isHarmed && (PASSING.has(error) || this.#options.passing?.includes(error))) {
      it.count(`clients that gave up with ${error}`);
      return;
    }
    it.fail("other", `send ended with ${signal ?? code} and ${JSON.stringify(receipt?.error)}: ${client.errors}`);
  }

  /** Without harm, until a transfer is complete. */
  async finish(): Promise<void> {
    if (this.server === undefined) await this.startServer();
    const before = this.#completed;
    if (this.client !== undefined) this.clientEnded(await this.client.exited);
    if (this.#completed === before) this.clientEnded(await this.startClient().exited);
    if (this.#completed === before) this.#case.fail("other", "the same command does not finish the transfer");
    // What is still to do when the client has its receipt is done by now, or never.
    await this.stopServer();
  }
}

const intoOf = (transfer: number) => (transfer === 0 ? "" : `t${transfer}`);

function receiptOf(client: Client): Receipt | undefined {
  try {
    return client.receipt;
  } catch {
    return undefined;
  }
}
