/*
 * What the bill must say at the end, written by hand: what was bought, which sessions there were, and which session
 * follows which.
 */

/** Item, unit price, quantity, amount, the service that sold it, and how the charge came. */
export const SOLD = [
  ["Rioja Crianza", "12.50", "2", "25.00", "wine", "info"],
  ["Barolo", "34.00", "1", "34.00", "wine", "info"],
  ["Delivery", "4.90", "1", "4.90", "wine", "bye"],
  ["Grappa di Barolo", "29.50", "1", "29.50", "grappa", "info"],
  ["Delivery", "4.90", "1", "4.90", "grappa", "bye"],
] as const;

/**
 * Service, app server, and what the session cost by itself; the lesson, which costs by the clock, is not among them.
 */
export const SESSIONS = [
  ["wine", "wine-shop", "0"], // scene 1
  ["wine", "wine-shop", "0"], // scene 4, three parts
  ["grappa", "wine-shop", "1.00"],
  ["beer", "brewery", "0.50"],
  ["wine", "wine-shop", "0"], // scene 5
  ["beer", "brewery", "0.50"],
  ["wine", "wine-shop", "0"], // scene 6
  ["beer", "brewery", "0.50"],
  ["books", "north-books", "0.20"], // scene 7
  ["books", "south-books", "0.20"],
] as const;

/** How sessions are linked on the bill: scene 4 twice, scenes 5 and 6. */
export const LINKS = ["beer, change of grappa", "beer, move of wine", "beer, move of wine", "grappa, change of wine"];

/** Calls in several parts, as the bill lists them. */
export const CALLS = [
  ["wine", "grappa", "beer"],
  ["wine", "beer"],
  ["wine", "beer"],
];
