import type { ClientSession } from "../../sdk/index.ts";
import { browse, compare, type Direction } from "./scenes.ts";
import type { Stage } from "./stage.ts";

/* One client and two app servers: the service changes within a session, a session moves, and two answer one INVITE. */

/** Wine becomes grappa at the same app server, and some is bought; then beer at another one (M20, M21, fig. 8). */
export async function changeService(stage: Stage, direction: Direction): Promise<void> {
  const { checks, note } = direction;
  const session = await stage.alice.request("wine");
  await direction.relayed("server", "ACK");
  note("the same app server has grappa too");
  await session.change("grappa");
  checks.equal("the service after the first change", session.service, "grappa");
  await direction.relayed("server", "ACK", 2); // what is bought before is still in the first part
  const bought = await browse(direction, session.access ?? "", { form: "wine=grappa&quantity=1" });
  checks.equal("status of the purchase of grappa", bought.status, 200);
  note("beer is at the brewery: it is asked first, then the wine shop is left");
  await session.change("beer");
  checks.equal("the service after the second change", session.service, "beer");
  await direction.relayed("second", "ACK");
  checks.equal("title of the brewery's page", await visit(direction, session, "second"), "Brewery");
  await hangUp(direction, session);
  await compare(direction, "change");
}

/** From the wine shop on to the brewery, by REFER: the first session ends when the second stands (M23, fig. 9). */
export async function moveOn(stage: Stage, direction: Direction): Promise<void> {
  const { checks } = direction;
  const wine = await stage.alice.request("wine");
  await direction.relayed("server", "ACK");
  const beer = await wine.move("beer", { keep: false });
  checks.equal("title of the brewery's page", await visit(direction, beer, "second"), "Brewery");
  checks.equal("who ended the session at the wine shop", (await wine.ended).by, "remote");
  await hangUp(direction, beer);
  await compare(direction, "move");
}

/** The same, and the first session goes on beside the second until the client ends it (M24, fig. 9). */
export async function moveAndKeep(stage: Stage, direction: Direction): Promise<void> {
  const { checks, note } = direction;
  const wine = await stage.alice.request("wine");
  await direction.relayed("server", "ACK");
  const beer = await wine.move("beer", { keep: true });
  checks.equal("title of the brewery's page", await visit(direction, beer, "second"), "Brewery");
  checks.equal("title of the wine shop's page", await visit(direction, wine, "server"), "Wine shop");
  await hangUp(direction, beer);
  note("the session with the wine shop is still there");
  checks.equal("title of the wine shop's page", await visit(direction, wine, "server"), "Wine shop");
  await hangUp(direction, wine);
  await compare(direction, "keep");
}

/** Two book shops answer one INVITE: two sessions, and both pages open (M25, fig. 10). */
export async function openTwoShops(stage: Stage, direction: Direction): Promise<void> {
  const { checks, note } = direction;
  const both = await stage.alice.requestAll("books", { max: 2 });
  checks.equal("sessions of one INVITE", both.length, 2);
  for (const side of ["server", "second"] as const) await direction.relayed(side, "ACK");
  const [one, other] = both;
  if (!one || !other) return;
  checks.equal("Call-ID of the second session", other.id, one.id);
  checks.that(one.access !== other.access, "both book shops gave the same URL");
  const pages = [];
  for (const session of both) pages.push(await visit(direction, session, sideOf(session)));
  checks.equal("pages of the book shops", pages.sort(), ["North book shop", "South book shop"]);
  await hangUp(direction, one);
  note("the session with the other shop is still there");
  await visit(direction, other, sideOf(other));
  await hangUp(direction, other);
  await compare(direction, "books");
}

const sideOf = ({ access }: ClientSession) => (access?.includes("/north") ? "server" : "second");

/** Opens the page that the session gives access to; resolves to its title. */
async function visit(direction: Direction, session: ClientSession, at: "server" | "second"): Promise<string> {
  const { status, text } = await browse(direction, session.access ?? "", { at });
  direction.checks.equal(`status of the page for ${session.service}`, status, 200);
  return /<title>([^<]*)</.exec(text)?.[1] ?? "";
}

async function hangUp({ checks }: Direction, session: ClientSession): Promise<void> {
  const { by, status } = await session.end();
  checks.equal(`end of the session for ${session.service}`, [by, status], ["local", 200]);
}
