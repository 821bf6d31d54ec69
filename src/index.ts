/** The public API. */
export type {
  Durability,
  FailureReport,
  FileResult,
  FileStatus,
  SendOptions,
  TransferEvent,
  TransferResult,
} from "./client/types.ts";
export { type Endpoint, formatEndpoint } from "./net/dial.ts";
export { ERRORS, type ErrorCode, HawserError } from "./protocol/errors.ts";
export type { FileRecord, HawserServer, ServeOptions, ServerEvent, TransferRecord } from "./server/types.ts";
