/** The real client, which sends a pipe through all of a test that does worse beside it. */
import { PassThrough } from "node:stream";
import { send, type TransferResult } from "../../src/index.ts";
import type { Address } from "./connection.ts";
import { contentOf } from "./random.ts";

export interface Honest {
  readonly name: string;
  /** What it has sent in all. */
  content(): Buffer;
  /** Sends some more. */
  more(): Promise<void>;
  end(): Promise<TransferResult>;
}

export function honestClient(to: Address, name = "honest"): Honest {
  const input = new PassThrough();
  const result = send({ input, name, to, streams: 2, chunkBytes: 65_536 });
  const parts: Buffer[] = [];
  return {
    name,
    content: () => Buffer.concat(parts),
    more() {
      const part = contentOf(300_000, parts.length + 1);
      parts.push(part);
      return new Promise((resolve) => input.write(part, () => resolve()));
    },
    end() {
      input.end();
      return result;
    },
  };
}
