/** What the numbers were measured on: enough to judge them by, and nothing that tells whose machine it is. */
import { statfsSync } from "node:fs";
import { availableParallelism, cpus, platform, release, totalmem } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly date: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: `${platform()} ${release()}`,
    node: process.version,
    date: new Date().toISOString(),
  };
}

export function machineText({ cpu, cores, kernel, node, date }: Machine): string {
  return `${date.slice(0, 10)}: ${cores} cores of ${cpu}, ${kernel}, Node ${node}`;
}

/** The magic numbers of statfs(2). */
const FILE_SYSTEMS: Record<number, string> = {
  16914836: "tmpfs",
  61267: "ext4",
  1481003842: "xfs",
  2435016766: "btrfs",
  801189825: "zfs",
  2035054128: "overlayfs",
};

export function fileSystemOf(directory: string): string {
  return FILE_SYSTEMS[statfsSync(directory).type] ?? "an unnamed file system";
}

export function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}
