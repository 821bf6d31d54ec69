/** Where in a message of plain msgpack what stands: so that a value, a length or an entry can be changed, and all else stays. */

/** A value in a payload, and where its bytes begin. */
export interface Slot {
  readonly kind: "small" | "number" | "double" | "bytes" | "text" | "boolean";
  readonly at: number;
  readonly bytes: number;
}

/** Text that is one of a few words: another would be illegal. */
const isWord = (text: string) => /^(source|sink|[a-z]+-?[a-z]*)$/.test(text);

/** A small map or list: where its head is, and where each of its entries begins; at last where they end. */
export interface Listing {
  readonly at: number;
  readonly isMap: boolean;
  readonly entries: readonly number[];
}

export interface Shape {
  readonly slots: readonly Slot[];
  readonly listings: readonly Listing[];
}

export const NO_SHAPE: Shape = { slots: [], listings: [] };

/** What may be changed in a message of plain data: values, but no names of fields and no lengths; and entries. */
export function shapeOf(payload: Buffer): Shape {
  const slots: Slot[] = [];
  const listings: Listing[] = [];
  let at = 0;
  const many = (count: number, isMap: boolean) => {
    const head = at - 1;
    const entries = [at];
    for (let i = 0; i < count; i++) {
      if (isMap) value(true);
      value(false);
      entries.push(at);
    }
    if (count > 0 && count < 16) listings.push({ at: head, isMap, entries });
  };
  const bytes = (length: number, kind: "bytes" | "text", isName: boolean) => {
    const isFixed = kind === "text" && isWord(payload.toString("latin1", at, at + length));
    if (length > 0 && !isName && !isFixed) slots.push({ kind, at, bytes: length });
    at += length;
  };
  const number = (length: number, kind: "number" | "double") => {
    slots.push({ kind, at, bytes: length });
    at += length;
  };
  const length = (count: 1 | 2 | 4): number => {
    at += count;
    return payload.readUIntBE(at - count, count);
  };
  const value = (isName: boolean): void => {
    const type = payload.readUInt8(at++);
    if (type < 0x80 || type >= 0xe0) slots.push({ kind: "small", at: at - 1, bytes: 1 });
    else if (type < 0x90) many(type & 15, true);
    else if (type < 0xa0) many(type & 15, false);
    else if (type < 0xc0) bytes(type & 31, "text", isName);
    else if (type === 0xc2 || type === 0xc3) slots.push({ kind: "boolean", at: at - 1, bytes: 1 });
    else if (type >= 0xc4 && type <= 0xc6) bytes(length((1 << (type - 0xc4)) as 1 | 2 | 4), "bytes", isName);
    else if (type === 0xcb) number(8, "double");
    else if (type >= 0xcc && type <= 0xce) number(1 << (type - 0xcc), "number");
    else if (type >= 0xd0 && type <= 0xd2) number(1 << (type - 0xd0), "number");
    else if (type === 0xd9 || type === 0xda) bytes(length((1 << (type - 0xd9)) as 1 | 2), "text", isName);
    else if (type === 0xdc) many(length(2), false);
    else if (type === 0xde) many(length(2), true);
    else if (type !== 0xc0) throw new Error(`a message with a value of type 0x${type.toString(16)}`);
  };
  value(false);
  return { slots, listings };
}
