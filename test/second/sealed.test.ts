/** Sealed streams to the real server by the second implementation: PROTOCOL.md, 17, is enough to write a client. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { startServer } from "../helpers/e2e.ts";
import { testKeys } from "../helpers/keys.ts";
import { contentOf } from "./random.ts";
import { nameOf, opening, Records, secured } from "./sealed.ts";
import { sendAll } from "./source.ts";

const bytesTo = (count: number) => Buffer.from(Array.from({ length: count }, (_, i) => i));

t.test("the bytes that stand in PROTOCOL.md", async (t) => {
  const secret = bytesTo(32);
  t.equal(nameOf(secret).toString("hex"), "1f2cde692d757ab674ed78abbeb46e95");
  t.equal(
    opening(bytesTo(16), 0x01020304).toString("hex"),
    "8a4841575345414c000102030405060708090a0b0c0d0e0f01020304a9c1816e",
  );
  const hawser = Buffer.from("hawser");
  const client = new Records(secret, "aes-128-gcm", 7, "client");
  t.equal(client.seal(hawser).toString("hex"), "00000006aa043b9383c78ba303d44df94d2b6489a10283f7154a");
  t.equal(client.seal(Buffer.from("rope")).toString("hex"), "00000004b4dce495c375a4a078b97253d2746b527072d044");
  const server = new Records(secret, "aes-128-gcm", 7, "server");
  t.equal(server.seal(hawser).toString("hex"), "00000006beb97eb9b5f6f92127830bb56fc8eb3bd6eb4c2abe06");
  const chacha = new Records(secret, "chacha20-poly1305", 7, "client");
  t.equal(chacha.seal(hawser).toString("hex"), "00000006b3dfb351cb06d5e812ededa7ccc50734f1902fe305d3");
});

for (const cipher of ["aes-128-gcm", "chacha20-poly1305"]) {
  t.test(`a file over four streams that are sealed with ${cipher}`, async (t) => {
    const dir = join(t.testdir({ served: {} }), "served");
    const { keys, ticket } = await testKeys(t);
    const { to } = await startServer(t, dir, { secure: keys });
    const content = contentOf(3_000_000);
    const over = await secured(to, ticket("second"), ["not-known", cipher]);
    const { receipt, welcome } = await sendAll(to, [{ name: "a.bin", content }], { streams: 4, over });
    t.equal(welcome["seal"], cipher);
    t.match(receipt, { files: 1, failed: 0, bytes: content.length });
    t.ok(readFileSync(join(dir, "a.bin")).equals(content), "byte for byte");
  });
}
