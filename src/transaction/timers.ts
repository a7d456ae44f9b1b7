/**
 * The timers of RFC 3261 table 4 and RFC 6026 §8.11, by their letters, and three that have none: `trying` sends the
 * automatic 100, `cancelled` ends an INVITE that was cancelled and never answered (RFC 3261 §9.1), `unanswered` ends
 * a non-INVITE server transaction that its user never answered (RFC 4320 §4.2).
 */
export type TimerName =
  | "A"
  | "B"
  | "D"
  | "E"
  | "F"
  | "G"
  | "H"
  | "I"
  | "J"
  | "K"
  | "L"
  | "M"
  | "trying"
  | "cancelled"
  | "unanswered";
