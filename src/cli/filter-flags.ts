/** --include, --exclude and --exclude-from as one list of rules: which comes first means something, so order is kept. */
import type { FilterRule } from "../source/filter-rules.ts";

/** What the command line parser read, in its order; flags without their dashes. */
export interface ParsedToken {
  readonly type: "flag" | "arg";
  readonly flag?: string;
  readonly input: string;
}

export const FILTER_FLAGS = ["include", "exclude", "exclude-from"] as const;

/** The rules in the order in which they stand on the command line. */
export function filterRulesOf(tokens: readonly ParsedToken[]): FilterRule[] {
  return tokens.flatMap(({ type, flag, input }): FilterRule[] => {
    if (type !== "flag") return [];
    if (flag === "exclude") return [{ exclude: input }];
    if (flag === "include") return [{ include: input }];
    return flag === "exclude-from" ? [{ excludeFrom: input }] : [];
  });
}
