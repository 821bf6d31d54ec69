import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { bundleTableBytes, decodeBundle, encodeBundleTable } from "../../src/protocol/bundle.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import { BUNDLE_FILES_MAX } from "../../src/protocol/limits.ts";

function bundleOf(files: readonly { file: number; content: Uint8Array; crc32: number }[]): Uint8Array {
  const table = new Uint8Array(bundleTableBytes(files.length));
  const entries = files.map(({ file, content, crc32 }) => ({ file, bytes: content.length, crc32 }));
  encodeBundleTable(entries, table);
  return new Uint8Array(Buffer.concat([table, ...files.map(({ content }) => content)]));
}

const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const someFiles = fc.array(fc.record({ file: uint32, crc32: uint32, content: fc.uint8Array({ maxLength: 40 }) }), {
  minLength: 1,
  maxLength: 30,
});

t.test("every bundle comes back", async () => {
  fc.assert(
    fc.property(someFiles, (files) => {
      const payload = bundleOf(files);
      const decoded = decodeBundle(payload).map(({ file, crc32, start, bytes }) => {
        return { file, crc32, content: payload.slice(start, start + bytes) };
      });
      assert.deepEqual(
        decoded,
        files.map(({ file, crc32, content }) => ({ file, crc32, content })),
      );
    }),
  );
});

t.test("what is no bundle is refused, and nothing else happens", async () => {
  const damaged = fc.tuple(someFiles, fc.nat(), fc.nat(255), fc.integer({ min: -20, max: 20 }));
  fc.assert(
    fc.property(damaged, ([files, at, byte, more]) => {
      const whole = bundleOf(files);
      whole[at % bundleTableBytes(files.length)] = byte;
      const payload =
        more < 0
          ? whole.subarray(0, Math.max(0, whole.length + more))
          : new Uint8Array([...whole, ...Array(more).fill(7)]);
      try {
        for (const { start, bytes } of decodeBundle(payload)) assert.ok(start + bytes <= payload.length);
      } catch (error) {
        assert.ok(error instanceof HawserError && error.code === "E_ILLEGAL", String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

t.test("bounds", async (t) => {
  const empty = { content: new Uint8Array(0), crc32: 0 };
  const of = (count: number) => bundleOf(Array.from({ length: count }, (_, file) => ({ file, ...empty })));
  t.equal(decodeBundle(of(BUNDLE_FILES_MAX)).length, BUNDLE_FILES_MAX);
  t.throws(() => decodeBundle(of(BUNDLE_FILES_MAX + 1)), { code: "E_ILLEGAL" });
  t.throws(() => decodeBundle(of(0)), { code: "E_ILLEGAL" });
  t.throws(() => decodeBundle(new Uint8Array(0)), { code: "E_ILLEGAL" });
  t.throws(() => decodeBundle(new Uint8Array(3)), { code: "E_ILLEGAL" });
  t.throws(() => decodeBundle(Uint8Array.of(0xff, 0xff, 0xff, 0xff)), { code: "E_ILLEGAL" });
  t.throws(() => decodeBundle(new Uint8Array([...of(2), 1])), { code: "E_ILLEGAL" }, "a byte too many");
});
