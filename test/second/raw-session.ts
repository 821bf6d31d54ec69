/** A session that a test drives by hand, frame by frame. */
import { type Address, Connection } from "./connection.ts";
import type { Fields, Value } from "./msgpack.ts";

export const CHUNK = 65_536;
export const HELLO = { agent: "second/1", role: "source", purpose: "transfer", streams: 4, chunkBytes: CHUNK };

export interface RawSession {
  readonly to: Address;
  readonly control: Connection;
  readonly welcome: Fields;
  readonly id: Buffer;
  readonly transfer: string;
}

export async function openSession(to: Address, hello: Fields = {}): Promise<RawSession> {
  const control = Connection.dial(to).send("HELLO", { ...HELLO, ...hello });
  const { fields } = await control.until("WELCOME");
  return { to, control, welcome: fields, id: fields["session"] as Buffer, transfer: fields["transfer"] as string };
}

export const attachOf = ({ id, welcome }: RawSession, more: Fields = {}): Fields => ({
  session: id,
  generation: welcome["generation"] as number,
  stream: 0,
  attempt: 1,
  ...more,
});

export async function openStream(session: RawSession, more: Fields = {}): Promise<Connection> {
  const stream = Connection.dial(session.to).send("ATTACH", attachOf(session, more));
  await stream.until("ATTACHED");
  return stream;
}

export const offer = (file: number, name: string | Buffer, size: number | null, more: Fields = {}): Fields => ({
  file,
  name: Buffer.from(name as string),
  size,
  mtime: [1_700_000_000, 0],
  mode: 0o644,
  ...more,
});

export const offers = (control: Connection, ...files: readonly Value[]): Connection =>
  control.send("OFFER", { settledBelow: 0, files });

/** Offers one file in chunks and waits until it is planned. */
export async function planned(session: RawSession, ...files: readonly Fields[]): Promise<RawSession> {
  offers(session.control, ...files);
  await session.control.until("PLAN");
  return session;
}
