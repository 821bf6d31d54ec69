/** The errors of PROTOCOL.md (Errors) that this implementation finds or is told of. */
export const CODES = {
  E_VERSION: 101,
  E_UNKNOWN_SESSION: 102,
  E_BUSY: 103,
  E_SHUTTING_DOWN: 104,
  E_TIMEOUT: 105,
  E_TOKEN: 106,
  E_REVOKED: 107,
  E_EXPIRED: 108,
  E_NEEDS_TLS: 109,
  E_DAMAGED: 201,
  E_BAD_MESSAGE: 202,
  E_FRAME_TOO_LARGE: 203,
  E_WRONG_STATE: 204,
  E_OUT_OF_RANGE: 205,
  E_FOREIGN_CHUNK: 206,
  E_ILLEGAL: 207,
  E_DAMAGED_PATH: 208,
  E_EXISTS: 301,
  E_NAME: 302,
  E_TOO_LARGE: 303,
  E_NO_SPACE: 304,
  E_DESTINATION: 305,
  E_NOT_DIRECTORY: 306,
  E_ONE_FILE: 310,
  E_SOURCE_CHANGED: 405,
  E_CONTENT: 407,
  /** Is in no document: the greeting's magic is another program's. */
  E_NOT_HAWSER: 0,
} as const;

export type Code = keyof typeof CODES;

export const codeOf = (number: number): string =>
  Object.entries(CODES).find(([, of]) => of === number)?.[0] ?? `unknown error ${number}`;

/** Somebody broke the protocol, or said that this end did. */
export class Breach extends Error {
  readonly code: string;

  constructor(code: Code | (string & {}), message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}
