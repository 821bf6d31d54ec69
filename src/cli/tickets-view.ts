/** Tickets for people (a table) and what is said of a new one. Never their tokens, but for the one that is printed. */
import type { TicketRecord } from "../server/tickets.ts";
import { formatDuration, formatLocalTime } from "./format.ts";

/** Widths that hold most names, a time, and a state. */
const WIDTHS = [24, 19];

export const TICKETS_HEADER = row(["NAME", "MADE", "STATE"]);

export function ticketRow(ticket: TicketRecord, nowMs: number): string {
  return row([ticket.name, formatLocalTime(ticket.createdMs), stateText(ticket, nowMs)]);
}

export type TicketState = "good" | "expired" | "revoked";

export function ticketState({ expiresMs, revokedMs }: TicketRecord, nowMs: number): TicketState {
  if (revokedMs !== null) return "revoked";
  return expiresMs !== null && nowMs >= expiresMs ? "expired" : "good";
}

function stateText(ticket: TicketRecord, nowMs: number): string {
  const { expiresMs, revokedMs } = ticket;
  if (revokedMs !== null) return `revoked ${formatLocalTime(revokedMs)}`;
  if (expiresMs === null) return "good";
  return expiresMs <= nowMs ? `expired ${formatLocalTime(expiresMs)}` : `good for ${formatDuration(expiresMs - nowMs)}`;
}

function row(cells: readonly string[]): string {
  return `${cells.map((cell, index) => cell.padEnd(WIDTHS[index] ?? 0)).join("  ")}\n`;
}
