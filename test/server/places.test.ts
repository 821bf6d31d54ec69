import t from "tap";
import { Admission } from "../../src/server/admission.ts";
import { Places } from "../../src/server/places.ts";

class Socket {
  isOpen = true;
  isDestroyed = false;
  destroy(): void {
    this.isOpen = false;
    this.isDestroyed = true;
  }
}

/** Four places, one to wait. */
const places = () =>
  new Places<Socket>(
    new Admission({ maxConnections: 4, maxConnectionsPerPeer: 4, maxSessions: 9, maxSessionsPerPeer: 9 }),
  );

function come(to: Places<Socket>, network = "a"): Socket {
  const socket = new Socket();
  to.enter(socket, network);
  return socket;
}

t.test("who says what it wants has a place, and who does not waits", async (t) => {
  const all = places();
  const four = Array.from({ length: 4 }, () => come(all));
  t.same(
    four.map(({ isDestroyed }) => isDestroyed),
    [true, true, true, false],
    "there is one to wait",
  );
  t.equal(all.take(four[3] as Socket), undefined);
  t.equal(all.take(four[3] as Socket), undefined, "once");
  t.match(all.take(four[0] as Socket), { code: "E_LOST" });
  t.match(all.take(new Socket()), { code: "E_LOST" });
});

t.test("who was refused holds no place while it is being closed, and is closed for others", async (t) => {
  const all = places();
  const refused = Array.from({ length: 10 }, () => {
    const socket = come(all);
    t.equal(all.take(socket), undefined);
    socket.isOpen = false;
    all.retire(socket);
    return socket;
  });
  t.same(refused.filter(({ isDestroyed }) => !isDestroyed).length, 1, "all but the last are gone");
  const honest = Array.from({ length: 4 }, () => {
    const socket = come(all, "b");
    return all.take(socket);
  });
  t.same(honest, [undefined, undefined, undefined, undefined]);
  t.match(all.take(come(all, "b")), { code: "E_BUSY" });
});

t.test("those that end give their places up at once, and a socket that is gone counts nowhere", async (t) => {
  const all = places();
  const four = Array.from({ length: 4 }, () => {
    const socket = come(all);
    all.take(socket);
    return socket;
  });
  for (const socket of four.slice(0, 2)) socket.isOpen = false;
  all.retireClosing();
  all.leave(four[2] as Socket);
  all.leave(four[2] as Socket);
  t.same([...all.all], [four[0], four[1], four[3]]);
  for (let i = 0; i < 3; i++) t.equal(all.take(come(all)), undefined);
  t.match(all.take(come(all)), { code: "E_BUSY" });
});
