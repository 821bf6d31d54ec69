/** Lines of a stream, one at a time, so that what is typed ahead waits in the pipe and not in memory. */
import { StringDecoder } from "node:string_decoder";
import { HawserError } from "../protocol/errors.ts";

/** A path takes 4 KiB at most; nobody types more. */
const LINE_CHARS_MAX = 64 * 1024;

/** Without their ends (LF or CRLF); the last line needs none. Throws E_USAGE at a line without end. */
export async function* readLines(stream: NodeJS.ReadableStream): AsyncGenerator<string> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  // Leaving early must not destroy a stream that others go on reading.
  for await (const chunk of (stream as NodeJS.ReadStream).iterator({ destroyOnReturn: false })) {
    rest += typeof chunk === "string" ? chunk : decoder.write(chunk);
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
    if (rest.length > LINE_CHARS_MAX)
      throw new HawserError("E_USAGE", `a line is longer than ${LINE_CHARS_MAX} characters`);
  }
  rest += decoder.end();
  if (rest !== "") yield rest;
}
