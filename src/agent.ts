/** How this program introduces itself. */
import { readFileSync } from "node:fs";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

export const VERSION = version;
export const AGENT = `hawser/${version} (${process.platform}; node ${process.versions.node})`;
