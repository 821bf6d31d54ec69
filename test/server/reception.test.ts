import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { mock } from "node:test";
import t, { type Test } from "tap";
import { BlockPool } from "../../src/net/blocks.ts";
import { listen } from "../../src/net/listen.ts";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { receive } from "../../src/server/reception.ts";
import { connectTo, hello, soon } from "../helpers/wire-end.ts";

async function reception(t: Test) {
  const log: string[] = [];
  let closed: () => void = () => {};
  const over = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const listener = await listen({ host: "127.0.0.1", port: 0 }, (address) =>
    receive(address, new BlockPool(), {
      onHello: (connection, peer) => {
        log.push(`hello ${peer}`);
        connection.close();
      },
      onAttach: (_connection, peer, { stream }) => void log.push(`attach ${peer} ${stream}`),
      onClosed: () => {
        log.push("closed");
        closed();
      },
      onRefused: (_peer, { code }) => void log.push(`refused ${code}`),
    }),
  );
  t.teardown(() => listener.close());
  return { log, over, address: listener.address };
}

async function plain(t: Test, port: number): Promise<{ socket: Socket; heard: Promise<string> }> {
  const socket = connect(port, "127.0.0.1");
  t.teardown(() => socket.destroy());
  let text = "";
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
  });
  socket.on("error", () => {});
  await once(socket, "connect");
  return { socket, heard: once(socket, "close").then(() => text) };
}

t.test("whoever says what it wants is handed over, once", async (t) => {
  const { log, over, address } = await reception(t);
  const { connection } = await connectTo(t, address);
  connection.send("HELLO", hello());
  await soon(over, "the end");
  t.strictSame(log, ["hello 127.0.0.1", "closed"]);
});

t.test("a browser gets an answer that it shows, TLS its alert, others nothing", async (t) => {
  const alert = Buffer.from("15030100020228", "hex").toString("latin1");
  const cases: [string, RegExp | string][] = [
    ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", /^HTTP\/1\.1 400 Bad Request\r\n.*hawser server/s],
    ["\x16\x03\x01\x02\x00", alert],
    ["SSH-2.0-x\r\n", ""],
  ];
  for (const [says, answer] of cases) {
    const { log, over, address } = await reception(t);
    const { socket, heard } = await plain(t, address.port);
    socket.write(says, "latin1");
    const told = await soon(heard, "the answer");
    if (typeof answer === "string") t.equal(told, answer);
    else t.match(told, answer);
    socket.destroy();
    await soon(over, "the end");
    t.strictSame(log.toSorted(), ["closed", "refused E_NOT_HAWSER"]);
  }
});

t.test("whoever closes without a word is no news", async (t) => {
  const { log, over, address } = await reception(t);
  const { socket } = await plain(t, address.port);
  socket.end();
  await soon(over, "the end");
  t.strictSame(log, ["closed"]);
});

t.test("one deadline over all that has to be said, however slowly it comes", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  const { log, over, address } = await reception(t);
  const { socket, heard } = await plain(t, address.port);
  const greeting = encodeGreeting();
  for (let i = 0; i < 10; i++) {
    socket.write(greeting.subarray(i, i + 1));
    await new Promise((resolve) => setImmediate(resolve));
    mock.timers.tick(999);
  }
  t.strictSame(log, [], "not before its time");
  mock.timers.tick(10);
  mock.timers.reset();
  t.match(await soon(heard, "the end"), /nothing was asked for within 10 s/);
  socket.destroy();
  await soon(over, "the end");
  t.ok(log.includes("refused E_TIMEOUT"));
});
