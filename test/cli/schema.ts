/** The committed JSON Schemas as functions that say what is wrong with a value. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";

export type SchemaName =
  | "send"
  | "demo"
  | "bench"
  | "history"
  | "sessions"
  | "tickets"
  | "serve-event"
  | "progress-event";

const ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });

/** undefined when `value` conforms. */
export function nonconformity(name: SchemaName, value: unknown): string | undefined {
  const validate = ajv.getSchema(`${name}.json`) ?? ajv.compile(schemaOf(name));
  return validate(value) === true ? undefined : `${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`;
}

export function schemaOf(name: SchemaName): Record<string, unknown> {
  return JSON.parse(readFileSync(new URL(`../../schema/${name}.json`, import.meta.url), "utf8"));
}
