import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import t from "tap";
import { askSegments, sumSegments } from "../../src/client/connection-segments.ts";

const LINES = `0 0 10.77.0.1:43012 10.77.0.2:23300 bbr wscale:7,7 rto:260 rtt:51.2/0.4 mss:1448 bytes_sent:9000 bytes_retrans:2896 segs_out:70 segs_in:40 data_segs_out:68 send 1.1Mbps retrans:1/2 sacked:3
0 2896 [fd00::1]:43014 [fd00::2]:23300 cubic rto:260 mss:1448 segs_out:30 segs_in:9
0 0 10.77.0.1:50000 10.77.0.2:23300 cubic segs_out:1000 retrans:0/1000
0 0 10.77.0.1:43016 10.77.0.2:23300 cubic rto:260
`;

t.test("only what these connections sent, and all that they sent again", async (t) => {
  t.same(sumSegments(LINES, new Set([43012])), { sent: 70, retransmitted: 2 });
  t.same(sumSegments(LINES, new Set([43012, 43014])), { sent: 100, retransmitted: 2 }, "no word where nothing was");
  t.equal(sumSegments(LINES, new Set([43016])), null, "an older system counts no segments");
  t.equal(sumSegments(LINES, new Set([1])), null);
  t.equal(sumSegments("what else it may print", new Set([43012])), null);
});

const noSs = spawnSync("ss", ["-H", "-tinO"]).status === 0 ? false : "needs the program ss (iproute2)";

t.test("what can't be is not told", async (t) => {
  const line = (words: string) => `0 0 10.77.0.1:43012 10.77.0.2:23300 cubic ${words}\n`;
  const port = new Set([43012]);
  t.equal(sumSegments(line(`segs_out:${"9".repeat(30)}`), port), null);
  t.equal(sumSegments(line("segs_out:5 retrans:0/6"), port), null);
  t.same(sumSegments(line("segs_out:5 retrans:0/5"), port), { sent: 5, retransmitted: 5 });
});

t.test("of a connection that is there", { skip: noSs }, async (t) => {
  const server = createServer((socket) => socket.resume());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const [one, other] = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")] as [Socket, Socket];
  t.teardown(() => {
    one.destroy();
    other.destroy();
    server.close();
  });
  await Promise.all([once(one, "connect"), once(other, "connect")]);
  await new Promise((resolve) => one.write(Buffer.alloc(4 * 1024 * 1024), resolve));
  const busy = await askSegments(new Set([one.localPort as number]), port);
  const idle = await askSegments(new Set([other.localPort as number]), port);
  t.ok((busy?.sent ?? 0) > 10, `${busy?.sent}`);
  t.ok((idle?.sent ?? 10) < 10, `${idle?.sent}`);
  t.equal(await askSegments(new Set([1]), port), null, "nobody's");
});
