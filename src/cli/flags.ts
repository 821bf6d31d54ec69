/** Settings as the flags that oclif parses and explains. It only reads text: values are settings.ts's business. */
import { boolean, string } from "@oclif/core/flags";
import { type Setting, type SettingTable, variableOf } from "./settings.ts";

export function flagsOf(table: SettingTable): Record<string, ReturnType<typeof flagOf>> {
  return Object.fromEntries(Object.values(table).map((setting) => [setting.flag, flagOf(setting)]));
}

function flagOf(setting: Setting<unknown>) {
  const common = {
    summary: summaryOf(setting),
    ...(setting.char === undefined ? {} : { char: setting.char as "v" }),
    ...(setting.aliases === undefined ? {} : { aliases: [...setting.aliases] }),
  };
  if (setting.placeholder === undefined) return boolean({ ...common, allowNo: setting.negatable === true });
  const text = { ...common, helpValue: setting.placeholder };
  return setting.repeatable === true ? string({ ...text, multiple: true, multipleNonGreedy: true }) : string(text);
}

/** What it does, its default, and the variable that sets it as well. */
function summaryOf({ about, fallbackText, perRun, flag, aliases }: Setting<unknown>): string {
  const notes = [
    ...(aliases ?? []).map((alias) => `also --${alias}`),
    ...(fallbackText === undefined ? [] : [`default ${fallbackText}`]),
    ...(perRun === true ? [] : [variableOf(flag)]),
  ];
  return notes.length === 0 ? about : `${about} (${notes.join("; ")})`;
}
