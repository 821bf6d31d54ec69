/**
 * A crowd that means harm, in a process of its own: connections from many addresses of this machine that say nothing, or
 * say it byte by byte; each that is closed is dialled again. Its argument: where to, how many, from how many addresses.
 */
import { connect } from "node:net";
import { encodeGreeting } from "../../src/protocol/greeting.ts";

export type CrowdEvent =
  | { readonly type: "here"; readonly count: number }
  | { readonly type: "pace"; readonly open: number; readonly dialled: number };

const TRICKLE_MS = 500;
/** Addresses that end in 1 to 250. */
const PER_SUBNET = 250;

interface Crowd {
  readonly host: string;
  readonly port: number;
  readonly count: number;
  readonly addresses: number;
  /** How soon one that was closed is dialled again. */
  readonly redialMs: number;
}

const { host, port, count, addresses, redialMs } = JSON.parse(process.argv[2] ?? "{}") as Crowd;
const greeting = encodeGreeting();
const say = (event: CrowdEvent) => process.stdout.write(`${JSON.stringify(event)}\n`);
let dialled = 0;
let open = 0;
let here = 0;

function dial(index: number, isFirst: boolean): void {
  dialled++;
  const from = index % addresses;
  const localAddress = `127.1.${Math.floor(from / PER_SUBNET)}.${(from % PER_SUBNET) + 1}`;
  const socket = connect({ host, port, localAddress });
  let said = 0;
  let first = isFirst;
  // Every other one says nothing at all.
  const trickle = setInterval(() => {
    if (index % 2 === 1 && said < greeting.length - 1) socket.write(greeting.subarray(said, ++said));
  }, TRICKLE_MS);
  const arrived = () => {
    if (first && ++here === count) say({ type: "here", count });
    first = false;
  };
  socket.on("connect", () => {
    open++;
    arrived();
  });
  socket.on("error", () => {});
  socket.on("data", () => {});
  socket.on("close", (hadError) => {
    clearInterval(trickle);
    if (!first || hadError) open = Math.max(0, open - 1);
    arrived();
    setTimeout(() => dial(index, false), redialMs);
  });
}

for (let i = 0; i < count; i++) dial(i, true);
setInterval(() => say({ type: "pace", open, dialled }), 1000);
