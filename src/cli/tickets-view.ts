/** The tickets that were given out, for people (a table) and for scripts. Never their tokens. */
import type { TicketRecord } from "../server/tickets.ts";
import { formatDuration, formatLocalTime } from "./format.ts";

/** Widths that hold most names, a time, and a state. */
const WIDTHS = [24, 19];

export const TICKETS_HEADER = row(["NAME", "MADE", "STATE"]);

export function ticketRow(ticket: TicketRecord, nowMs: number): string {
  return row([ticket.name, formatLocalTime(ticket.createdMs), stateText(ticket, nowMs)]);
}

export type TicketState = "good" | "expired" | "revoked";

function ticketState({ expiresMs, revokedMs }: TicketRecord, nowMs: number): TicketState {
  if (revokedMs !== null) return "revoked";
  return expiresMs !== null && nowMs >= expiresMs ? "expired" : "good";
}

/** What `ticket list --json` says of one; schema/tickets.json describes it. */
export function ticketEntry(ticket: TicketRecord, nowMs: number): TicketRecord & { readonly state: TicketState } {
  return { ...ticket, state: ticketState(ticket, nowMs) };
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
