/** What the demo came to, for people and for programs. */
import type { TransferResult } from "../client/types.ts";
import { formatCount } from "./format.ts";
import { transferFields } from "./results.ts";

export function verifiedText(bytes: number): string {
  return `${"verified".padEnd(10)}  ${formatCount(bytes)} bytes on the disk are those that were sent\n`;
}

/** schema/demo.json describes it. `verified` is the demo's own comparison, not the receipt's word. */
export function demoRecord(result: TransferResult, verified: boolean): Record<string, unknown> {
  const { ok, ...fields } = transferFields(result);
  return { ok: ok === true && verified, verified, ...fields };
}
