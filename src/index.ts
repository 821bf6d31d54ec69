/** The public API. */
export { type MeasureOptions, type MeasureResult, measure } from "./client/measure.ts";
export { send } from "./client/send.ts";
export type {
  ClientKeys,
  Durability,
  FailureReport,
  FileResult,
  FileStatus,
  SendOptions,
  TransferEvent,
  TransferResult,
} from "./client/types.ts";
export { pinOfPem } from "./net/channel.ts";
export { type Endpoint, formatEndpoint } from "./net/dial.ts";
export { RateLimit } from "./net/rate-limit.ts";
export { ERRORS, type ErrorCode, HawserError } from "./protocol/errors.ts";
export { formatTicket, parseTicket, type Ticket } from "./protocol/ticket.ts";
export { readHistory } from "./server/database-history.ts";
export type { PastTransfer } from "./server/history.ts";
export { dropSession, readSessions, type UnfinishedTransfer } from "./server/kept-sessions.ts";
export { serve } from "./server/serve.ts";
export { type NewTicket, type TicketRecord, Tickets } from "./server/tickets.ts";
export type {
  FileRecord,
  HawserServer,
  ServeOptions,
  ServerEvent,
  ServerKeys,
  TransferRecord,
} from "./server/types.ts";
