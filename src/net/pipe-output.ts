/** Writing to a pipe or a socket that this process was given, such as standard output, without holding up anything else. */
import { Socket } from "node:net";

export function pipeOutput(fd: number): Socket {
  return new Socket({ fd, readable: false, writable: true });
}
