import { once } from "node:events";
import { connect } from "node:net";
import t from "tap";
import { BlockPool } from "../../src/net/blocks.ts";
import { Connection } from "../../src/net/connection.ts";
import { listen } from "../../src/net/listen.ts";
import { Recorder } from "../helpers/wire-end.ts";

const nobody = () => Buffer.from("no place");

t.test("a free port, and that it is in use", async (t) => {
  const listener = await listen({ host: "127.0.0.1", port: 0 }, nobody);
  t.teardown(() => listener.close());
  t.equal(listener.address.host, "127.0.0.1");
  t.ok(listener.address.port > 0);
  await t.rejects(listen(listener.address, nobody), { code: "E_ADDRESS_IN_USE" });
});

t.test("an address that is not this machine's", async (t) => {
  await t.rejects(listen({ host: "192.0.2.1", port: 0 }, nobody), { code: "E_CONFIG", message: /192\.0\.2\.1:0/ });
});

t.test("whoever is not taken is told why, and the connection is closed", async (t) => {
  const listener = await listen({ host: "127.0.0.1", port: 0 }, nobody);
  t.teardown(() => listener.close());
  const socket = connect(listener.address.port, "127.0.0.1");
  socket.write("something that is not read");
  let heard = "";
  socket.on("data", (bytes) => {
    heard += bytes;
  });
  await once(socket, "close");
  t.equal(heard, "no place");
});

t.test("both families on one listener, and where a connection comes from", async (t) => {
  const from: string[] = [];
  const connections: Connection[] = [];
  const listener = await listen({ host: "::", port: 0 }, (address) => {
    from.push(address);
    const connection = new Connection("server", undefined, new BlockPool(), new Recorder());
    connections.push(connection);
    return connection;
  }).catch(() => undefined);
  if (listener === undefined) {
    t.comment("skipped: no IPv6 on this machine");
    return;
  }
  t.teardown(() => listener.close());
  for (const host of ["127.0.0.1", "::1"]) {
    const socket = connect(listener.address.port, host);
    socket.end("x");
    await once(socket.resume(), "close");
  }
  t.strictSame(from, ["::ffff:127.0.0.1", "::1"]);
  for (const connection of connections) connection.destroy();
});
