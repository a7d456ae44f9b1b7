import { type ClientSession, type Ending, SipError } from "../../sdk/index.ts";
import { systemClock } from "../../support/clock.ts";
import type { Checks } from "./checks.ts";
import type { Lane } from "./ladder.ts";
import { LESSON_MS } from "./school.ts";
import { SCRIPT, type Script } from "./script.ts";
import type { Passed } from "./second-node.ts";
import { DOMAIN, type Stage } from "./stage.ts";
import { WINES } from "./wine-shop.ts";

/** What a scene needs besides the stage. */
export interface Direction {
  readonly checks: Checks;
  /** Draws an arrow beside the relay: what client and app server say to each other directly. */
  direct(from: Lane, to: Lane, label: string): void;
  /** Draws what has passed at a node in a process of its own. */
  passed(what: Passed): void;
  note(text: string): void;
  /** Resolves when the relay has sent such a message so often in this scene; waits a moment for it. */
  relayed(to: Lane, label: string, times?: number): Promise<void>;
  /** Whether it has. */
  hasRelayed(to: Lane, label: string): boolean;
  /**
   * Everything between the relay and that side in this scene, written as in `script.ts`; waits a moment until there
   * are so many messages.
   */
  exchanged(side: Lane, count: number): Promise<string[]>;
}

/** What the client itself has measured of a session, to compare with the bill. */
export interface Measured {
  readonly session: string;
  readonly elapsedMs: number;
}

/**
 * A visit to the wine shop: a web page beside a SIP session; two purchases are charged by INFO, the delivery at the
 * end.
 */
export async function visitWineShop(stage: Stage, direction: Direction): Promise<Measured> {
  const { checks } = direction;
  const session = await stage.alice.request("wine", {
    description: `<request><category>wine</category><lang>en</lang></request>`,
  });
  const started = systemClock.monotonic();
  checks.that(
    /^http:\/\/127\.0\.0\.1:\d+\/\w+$/.test(session.access ?? ""),
    `the wine shop's URL: found ${session.access ?? "none"}`,
  );
  const url = session.access ?? "";
  await direction.relayed("server", "ACK");

  const page = await browse(direction, url);
  checks.equal("status of the wine shop's page", page.status, 200);
  checks.that(
    page.text.includes(`${stage.user}@${DOMAIN}`),
    "the wine shop's page does not greet the user by the identity that the relay vouches for",
  );
  for (const { name } of WINES) checks.that(page.text.includes(name), `the wine shop's page does not show ${name}`);

  for (const form of ["wine=rioja&quantity=2", "wine=barolo&quantity=1"]) {
    const bought = await browse(direction, url, { form });
    checks.equal(`status of the purchase ${form}`, bought.status, 200);
    checks.that(bought.text.includes("on your bill"), `the purchase ${form} was not confirmed`);
  }

  const ending = await session.end();
  checks.equal("end of the visit", [ending.by, ending.status], ["local", 200]);
  checks.that(ending.body === undefined, "the client has seen the charges in the app server's 200 to BYE");
  const elapsedMs = systemClock.monotonic() - started;
  await compare(direction, "wine");
  return { session: session.id, elapsedMs };
}

/** Compares what went over the wire in this scene with the script. */
export async function compare(direction: Direction, name: keyof typeof SCRIPT): Promise<void> {
  const script: Script = SCRIPT[name];
  for (const side of ["client", "server", "second"] as const) {
    const expected = script[side];
    if (!expected) continue;
    const all = await direction.exchanged(side, expected.length);
    const found = all.filter((message) => !script.without?.includes(message));
    const [a, b] = script.anyOrder ? [[...found].sort(), [...expected].sort()] : [found, expected];
    direction.checks.equal(`messages between ${side} and relay, ${name}`, a, b);
  }
}

/** Opens a page of the app server, or sends a form to it. */
export async function browse(
  direction: Direction,
  url: string,
  { at = "server", form }: { readonly at?: "server" | "second"; readonly form?: string } = {},
): Promise<{ status: number; text: string }> {
  direction.direct("client", at, form === undefined ? "HTTP GET, the page" : `HTTP POST ${form}`);
  const headers = { "Content-Type": "application/x-www-form-urlencoded" };
  const response = await fetch(url, form === undefined ? {} : { method: "POST", body: form, headers });
  const text = await response.text();
  direction.direct(at, "client", `${response.status} ${response.statusText} (HTTP)`);
  return { status: response.status, text };
}

/** A lesson, charged by time: the app server measures and charges nothing, and hangs up when it is over. */
export async function takeLesson(stage: Stage, direction: Direction): Promise<Measured> {
  const { checks } = direction;
  const session: ClientSession = await stage.alice.request("english");
  const started = systemClock.monotonic();
  checks.equal("the school's welcome", session.answer?.content, "Good morning! Today: the weather.");
  direction.note(`the lesson takes ${LESSON_MS / 1000} s, then the school hangs up`);
  const ending: Ending = await session.ended;
  const elapsedMs = systemClock.monotonic() - started;
  checks.equal("end of the lesson", ending.by, "remote");
  await compare(direction, "lesson");
  return { session: session.id, elapsedMs };
}

/** A wrong password (M2), and a service that nobody offers (M4). */
export async function turnAway(stage: Stage, direction: Direction): Promise<void> {
  const refused = async (what: string, request: Promise<unknown>, status: number) => {
    const outcome = await request.then(
      () => "accepted",
      (error: unknown) => (error instanceof SipError ? error.status : String(error)),
    );
    direction.checks.equal(`answer to ${what}`, outcome, status);
  };
  await refused("a wrong password", stage.stranger.request("wine"), 401);
  await refused("a request for a service that nobody offers", stage.alice.request("rum"), 404);
  await compare(direction, "refused");
}
