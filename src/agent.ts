/** How this program introduces itself: what package.json says of it. */
import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { dirname } from "node:path";

interface Package {
  readonly name: string;
  readonly version: string;
  readonly description: string;
}

/** The nearest above this file: the sources, what is compiled, and the bundle lie at different depths below it. */
const path = findPackageJSON(import.meta.url) as string;

export const ROOT = dirname(path);
export const PACKAGE = JSON.parse(readFileSync(path, "utf8")) as Package;
export const AGENT = `hawser/${PACKAGE.version} (${process.platform}; node ${process.versions.node})`;
