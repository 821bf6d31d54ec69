/** Servers that are not hawser's, on a free port of this machine. */
import type { AddressInfo, Server } from "node:net";
import type { Endpoint } from "../../src/index.ts";

/** Where `server` listens from now on; to be closed by the caller. */
export function listenAnywhere(server: Server): Promise<Endpoint> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: "127.0.0.1", port: 0 }, () => {
      resolve({ host: "127.0.0.1", port: (server.address() as AddressInfo).port });
    });
  });
}
