/**
 * A look over a msgpack payload before it is decoded. The decoder knows extensions (records, classes, references) that
 * this protocol doesn't, and would act on them anywhere, also where the schema then ignores the field; and it recurses.
 * So anything but plain data of little depth is refused at its first byte. See the msgpack specification, 'Formats'.
 */

/** The deepest message, OFFER, has 4 levels: map, list, map, list. */
const DEPTH_MAX = 8;

/** What follows a type byte: bytes of a length or count, what it counts, and bytes that are there in any case. */
interface Format {
  readonly lengthBytes: number;
  readonly counts: "bytes" | "items" | "pairs";
  readonly fixedBytes: number;
}

const format = (lengthBytes: number, counts: Format["counts"], fixedBytes = 0): Format => ({
  lengthBytes,
  counts,
  fixedBytes,
});

const FORMATS = new Map<number, Format>([
  ...[0xc0, 0xc2, 0xc3].map((type): [number, Format] => [type, format(0, "bytes")]), // nil, false, true
  ...[1, 2, 4].map((size, i): [number, Format] => [0xc4 + i, format(size, "bytes")]), // bin
  ...[4, 8].map((size, i): [number, Format] => [0xca + i, format(0, "bytes", size)]), // float
  ...[1, 2, 4, 8].map((size, i): [number, Format] => [0xcc + i, format(0, "bytes", size)]), // uint
  ...[1, 2, 4, 8].map((size, i): [number, Format] => [0xd0 + i, format(0, "bytes", size)]), // int
  ...[1, 2, 4].map((size, i): [number, Format] => [0xd9 + i, format(size, "bytes")]), // str
  ...[2, 4].map((size, i): [number, Format] => [0xdc + i, format(size, "items")]), // array
  ...[2, 4].map((size, i): [number, Format] => [0xde + i, format(size, "pairs")]), // map
]);

/** Throws a RangeError where the payload holds an extension, the unused type, too much depth, or ends too early. */
export function assertPlain(payload: Uint8Array): void {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  /** Values still to come at each level. */
  const open: number[] = [1];
  for (let at = 0; open.length > 0; ) {
    const left = open.pop() as number;
    if (left === 0) continue;
    open.push(left - 1);
    const type = view.getUint8(at++);
    let children = 0;
    if (type >= 0x80 && type <= 0x8f) children = 2 * (type & 0x0f);
    else if (type >= 0x90 && type <= 0x9f) children = type & 0x0f;
    else if (type >= 0xa0 && type <= 0xbf) at += type & 0x1f;
    else if (type >= 0xc0 && type < 0xe0) {
      const known = FORMATS.get(type);
      if (known === undefined) throw new RangeError(`msgpack type 0x${type.toString(16)} is not plain data`);
      const length = readLength(view, at, known.lengthBytes);
      at += known.lengthBytes + known.fixedBytes;
      if (known.counts === "bytes") at += length;
      else children = known.counts === "pairs" ? 2 * length : length;
    }
    if (children > 0) open.push(children);
    if (open.length > DEPTH_MAX) throw new RangeError("msgpack nested too deep");
  }
}

function readLength(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at);
  return bytes === 4 ? view.getUint32(at) : 0;
}
