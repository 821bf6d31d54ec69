import t from "tap";
import type { ClientIdentity } from "../../src/client/handshake.ts";
import { Seals } from "../../src/client/seals.ts";
import type { Connection } from "../../src/net/connection.ts";
import type { Terms } from "../../src/net/transfer-end.ts";

async function agreed(identity: Partial<ClientIdentity> | undefined): Promise<Seals> {
  const seals = new Seals(identity as ClientIdentity | undefined);
  await seals.offer();
  const control = { channel: { kind: "tls", streamSecret: () => new Uint8Array(32) } };
  seals.agreed(control as unknown as Connection, { session: new Uint8Array(16), seal: "aes-128-gcm" } as Terms);
  return seals;
}

t.test("a stream that was not answered is TLS the next time, and only then", async (t) => {
  const seals = await agreed({});
  seals.failed(3, seals.of(3), "E_NO_ANSWER");
  t.equal(seals.of(3), undefined);
  t.ok(seals.of(3), "TLS did no better");
  t.ok(seals.of(4), "others are sealed");
});

t.test("one that was told why it is refused was understood: it stays sealed", async (t) => {
  const seals = await agreed({});
  for (const why of ["E_BUSY", "E_UNKNOWN_SESSION", "E_UNREACHABLE", "E_SHUTTING_DOWN"] as const) {
    seals.failed(1, seals.of(1), why);
    t.ok(seals.of(1), why);
  }
});

t.test("no number comes twice, whatever failed", async (t) => {
  const seals = await agreed({});
  const numbers = [1, 1, 2, 1].map((stream) => {
    const dial = seals.of(stream);
    seals.failed(stream, dial, "E_BUSY");
    return dial?.number;
  });
  t.equal(new Set(numbers).size, 4);
});

t.test("nothing is sealed where streams are plain, or TLS of their own", async (t) => {
  t.equal((await agreed(undefined)).of(1), undefined);
  t.equal((await agreed({ tlsStreams: true })).of(1), undefined);
});
