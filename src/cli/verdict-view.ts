/** What limits a transfer, and what to do about it, in one sentence with the figures behind it; and as JSON. */
import type { Shares, Verdict } from "../client/verdict.ts";
import { STREAMS_ASKED_MAX } from "./common-settings.ts";
import { formatBytes, formatCount, formatDuration, formatLimit, formatRate } from "./format.ts";

/** `the server's CPU: ...`. The client is the one that sends. */
export function verdictText(verdict: Verdict): string {
  const { run, sender, receiver } = verdict;
  switch (verdict.cause) {
    case "own-limit":
      return `--bwlimit: ${formatLimit(run.ownLimit)}, of which ${rateText(verdict)} were used; a higher one, or none, would help`;
    case "peer-limit":
      return `the server's limit: it reads ${formatLimit(run.peerLimit)} of a client, of which ${rateText(verdict)} were used; ask for a higher \`serve --bwlimit\``;
    case "sender-cpu":
      return `the CPU of this end: ${cpuText(sender)}, ${otherText("the server's", receiver)}; ${cpuAdvice(sender, "here")}`;
    case "receiver-cpu":
      return `the CPU of the server: ${receiver === null ? "unknown" : cpuText(receiver)}, ${otherText("this end's", sender)}; ${receiver === null ? "" : cpuAdvice(receiver, "there")}`;
    case "source-disk":
      return sourceText(verdict);
    case "destination-disk":
      return destinationText(verdict);
    case "path-loss":
      return `loss on the path: ${lossText(verdict)}${roundTripText(verdict)}, so ${perStreamText(verdict)}; ${streamsAdvice(verdict)}`;
    case "path-window":
      return `how much a stream may have on its way: ${windowText(verdict)}; ${streamsAdvice(verdict)}`;
    case "path-rate":
      return `the path: it carries no more than ${rateText(verdict)}, and both ends wait for it (busy ${percent(sender.busy)} here, ${receiver === null ? "?" : percent(receiver.busy)} there)${lostText(verdict)}; only fewer bytes would help, as \`send --compress\` makes of what can be compressed`;
    case "unknown":
      return `not this end, whose thread was busy for ${percent(sender.busy)} of the time; what the server does it doesn't say: update it`;
    case "too-short":
      return `nothing that could be seen in ${formatDuration((run.seconds + run.settlingSeconds) * 1000)}: send for longer`;
  }
}

const percent = (share: number) => `${Math.round(share * 100)}%`;

/** Loss is small, and its size is what matters. */
const fine = (share: number) => `${(share * 100).toFixed(share < 0.001 ? 3 : 2)}%`;

const rateText = ({ bytesPerSecond }: Verdict) => formatRate(bytesPerSecond);

/** Neither a disk nor a processor: the thread was ready to run, and others did. */
const starvedOf = ({ busy, thread, disk }: Shares) => Math.max(0, busy - thread - disk);

const isStarved = (shares: Shares) => starvedOf(shares) > shares.thread;

function cpuText(shares: Shares): string {
  const had = `its thread had something to do for ${percent(shares.busy)} of the time`;
  return isStarved(shares) ? `${had} and a processor for ${percent(shares.thread)}` : had;
}

function otherText(whose: string, shares: Shares | null): string {
  return shares === null ? `${whose} is unknown` : `${whose} for ${percent(shares.busy)}`;
}

function cpuAdvice(shares: Shares, where: string): string {
  if (isStarved(shares)) return `what else runs ${where} takes it: end that, or wait for it`;
  return `a faster processor ${where} would help, more streams would not`;
}

function sourceText({ run, sender, bytesPerSecond }: Verdict): string {
  const { inputSeconds, seconds } = run;
  if (inputSeconds >= sender.disk * seconds) {
    const share = percent(seconds > 0 ? inputSeconds / seconds : 0);
    return `what is piped in: for ${share} of the time there was nothing to send, at ${formatRate(bytesPerSecond)}; a faster source would help`;
  }
  return `the disk of this end: reading was waited for ${percent(sender.disk)} of the time, at ${formatRate(bytesPerSecond)}; a faster disk, or less else that reads from it, would help`;
}

function destinationText({ run, receiver, bytesPerSecond }: Verdict): string {
  const advice = "a faster disk there would help, or a `serve --durability` that syncs less";
  if (run.settlingSeconds > run.seconds) {
    const [sent, settled] = [run.seconds, run.settlingSeconds].map((seconds) => formatDuration(seconds * 1000));
    return `the disk of the server: it took ${settled} to commit what was sent in ${sent}; ${advice}`;
  }
  const share = percent(Math.max(receiver?.disk ?? 0, receiver?.held ?? 0));
  return `the disk of the server: writing was waited for ${share} of the time, at ${formatRate(bytesPerSecond)}; ${advice}`;
}

function lossText({ lossShare, run }: Verdict): string {
  return `${fine(lossShare ?? 0)} of ${formatCount(run.segments?.sent ?? 0)} segments ${run.isOfAllPrograms ? "of this machine " : ""}were sent again`;
}

function lostText({ lossShare }: Verdict): string {
  return lossShare === null || lossShare < 0.0001 ? "" : `; ${fine(lossShare)} of the segments were sent again`;
}

function roundTripText({ run }: Verdict): string {
  return run.roundTrip === null ? "" : ` at a round trip of ${formatDuration(run.roundTrip.leastMs)}`;
}

function perStreamText({ bytesPerSecond, run }: Verdict): string {
  return `${run.streams === 1 ? "one stream gets" : `${run.streams} streams get ${formatRate(bytesPerSecond)}, each`} ${formatRate(bytesPerSecond / run.streams)}`;
}

function windowText({ bytesPerSecond, run }: Verdict): string {
  const perStream = bytesPerSecond / run.streams;
  if (run.roundTrip === null) return `${formatRate(perStream)} with ${run.streams}`;
  const { leastMs } = run.roundTrip;
  const onTheWay = formatBytes((perStream * leastMs) / 1000);
  return `each of ${run.streams} has ${onTheWay} on its way in a round trip of ${formatDuration(leastMs)}, which gives ${formatRate(perStream)}`;
}

function streamsAdvice({ wantsMoreStreams, run, streams }: Verdict): string {
  if (run.knowsMost) return "that is as many streams as bring something, of those that can be had";
  if (!wantsMoreStreams) return `--streams ${streams} is as fast as it gets`;
  if (run.streams >= STREAMS_ASKED_MAX) return "that is as many streams as there may be";
  return `more streams would help: --streams ${Math.min(STREAMS_ASKED_MAX, run.streams * 4)}`;
}

/** schema/bench.json describes it. */
export function verdictRecord(verdict: Verdict): Record<string, unknown> {
  const { cause, streams, wantsMoreStreams, sender, receiver, lossShare } = verdict;
  return { cause, sentence: verdictText(verdict), streams, wantsMoreStreams, sender, receiver, lossShare };
}
