/**
 * The first bytes of every connection, both ways: they name the protocol and the versions that this end speaks.
 *
 * offset  bytes  field
 *      0      8  magic: 0x89 'H' 'A' 'W' 'S' 'E' 'R' 0x0A
 *      8      2  lowest version
 *     10      2  highest version
 *     12      4  reserved, zero when sent, ignored when received
 *     16      4  CRC-32 of bytes 0 to 15
 *
 * The magic's first byte has its high bit set and is not 0x16, so one byte tells us from text (HTTP, SSH, SMTP) and
 * from a TLS handshake record; its line feed shows a path that rewrites line ends.
 */
import { crc32 } from "./crc32.ts";
import { HawserError } from "./errors.ts";
import { GREETING_BYTES, VERSION_MAX, VERSION_MIN } from "./limits.ts";

const MAGIC = Uint8Array.of(0x89, 0x48, 0x41, 0x57, 0x53, 0x45, 0x52, 0x0a);

export interface VersionRange {
  readonly min: number;
  readonly max: number;
}

export const OUR_VERSIONS: VersionRange = { min: VERSION_MIN, max: VERSION_MAX };

export function encodeGreeting(versions: VersionRange = OUR_VERSIONS): Uint8Array {
  const bytes = new Uint8Array(GREETING_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint16(8, versions.min);
  view.setUint16(10, versions.max);
  view.setUint32(16, crc32(bytes.subarray(0, 16)));
  return bytes;
}

/** Whether bytes received so far can still become a greeting: a foreign program is found out at its first byte. */
export function isGreetingSoFar(bytes: Uint8Array): boolean {
  const known = Math.min(bytes.length, MAGIC.length);
  for (let i = 0; i < known; i++) if (bytes[i] !== MAGIC[i]) return false;
  return true;
}

/** Decodes the 20 bytes of a greeting. Throws E_NOT_HAWSER for another program's, E_DAMAGED for damaged ones. */
export function decodeGreeting(bytes: Uint8Array): VersionRange {
  if (!isGreetingSoFar(bytes)) throw foreignProgram(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, GREETING_BYTES);
  if (view.getUint32(16) !== crc32(bytes.subarray(0, 16))) {
    throw new HawserError("E_DAMAGED", "the greeting arrived damaged");
  }
  return { min: view.getUint16(8), max: view.getUint16(10) };
}

/** The highest version that both ends speak. Throws E_VERSION, which names both ranges. */
export function chooseVersion(theirs: VersionRange, ours: VersionRange = OUR_VERSIONS): number {
  const version = Math.min(theirs.max, ours.max);
  if (theirs.min > theirs.max || version < Math.max(theirs.min, ours.min)) {
    throw new HawserError(
      "E_VERSION",
      `the other end speaks protocol versions ${theirs.min} to ${theirs.max}, this end ${ours.min} to ${ours.max}`,
    );
  }
  return version;
}

/** What the first bytes of another program look like. */
export type ForeignProgram = "HTTP" | "SSH" | "FTP or SMTP" | "an rsync daemon" | "TLS" | "an unknown program";

/** E_NOT_HAWSER, with what the other program looks like, so that it can be answered in its own language. */
export class ForeignProgramError extends HawserError {
  readonly program: ForeignProgram;

  constructor(program: ForeignProgram) {
    super("E_NOT_HAWSER", `the other end does not speak hawser's protocol; it looks like ${program}`);
    this.program = program;
  }
}

/** The error for bytes that are no greeting. */
export function foreignProgram(bytes: Uint8Array): ForeignProgramError {
  return new ForeignProgramError(programOf(bytes));
}

function programOf(bytes: Uint8Array): ForeignProgram {
  const text = String.fromCharCode(...bytes.subarray(0, 8));
  if (text.startsWith("HTTP/") || /^[A-Z]{3,7} /.test(text)) return "HTTP";
  if (text.startsWith("SSH-")) return "SSH";
  if (/^220[ -]/.test(text)) return "FTP or SMTP";
  if (text.startsWith("@RSYNCD")) return "an rsync daemon";
  if (bytes[0] === 0x16 || bytes[0] === 0x15) return "TLS";
  return "an unknown program";
}
