import t from "tap";
import { isProof, type ProofOf, proofOf, ticketKeyOf } from "../../src/net/proof.ts";
import { bytesOf, hexOf } from "../helpers/vectors.ts";

const TOKEN = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
const EXPORTER = Uint8Array.from({ length: 32 }, (_, i) => i);

/** Made with Python's hmac and hashlib by what PROTOCOL.md says. */
const KEY = "1cf0bdd902e8cd7fa0280d1e4a56b3c32246fbdaef3869dc3afe87e4961ff972";
const PROOFS: Record<ProofOf, string> = {
  HELLO: "9e3289cf5f488b15d035287f3ff37959613224bbc550b72c98b9622f0d51dd93",
  WELCOME: "c70bb97c8abe8b18a9d843514d6eb97197ee82cc28533d315f52c6aba0af67f5",
  ATTACH: "4126fef9e6fac01192beb097521046a818c8798b853db73e4ae5f29bb02fb089",
  ATTACHED: "f21b453ff9e413685e1c782687c6d571bccbed868e66f5d7311c0e4d425b703b",
};

t.test("the golden key and proofs", async (t) => {
  t.equal(hexOf(ticketKeyOf(TOKEN)), KEY);
  for (const [message, hex] of Object.entries(PROOFS)) {
    t.equal(hexOf(proofOf(message as ProofOf, bytesOf(KEY), EXPORTER)), hex, message);
  }
});

t.test("a proof holds for its token, its connection and its message, and for nothing else", async (t) => {
  const key = ticketKeyOf(TOKEN);
  const proof = proofOf("HELLO", key, EXPORTER);
  t.ok(isProof(proof, "HELLO", key, EXPORTER));
  t.notOk(isProof(proof, "WELCOME", key, EXPORTER), "what the client said is no answer of the server's");
  t.notOk(isProof(proof, "ATTACH", key, EXPORTER), "nor good for a stream");
  t.notOk(isProof(proof, "HELLO", key, Uint8Array.of(...EXPORTER.subarray(1), 0)), "nor on another connection");
  t.notOk(isProof(proof, "HELLO", ticketKeyOf(EXPORTER), EXPORTER), "nor for another token");
  t.notOk(isProof(proof.subarray(1), "HELLO", key, EXPORTER), "nor in part");
  t.notOk(isProof(undefined, "HELLO", key, EXPORTER), "and none is none");
});
