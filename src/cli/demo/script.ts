/*
 * What has to go over the wire in each scene, seen from either side of the relay: `>` is what that side sent, `<`
 * what it got. 100 Trying may come or not and is left out.
 */

const signedIn = (service: string) => [`> INVITE ${service}`, "< 401", "> ACK", `> INVITE ${service}, signed`];

const ANSWERED = ["< 180", "< 200, URL inside", "> ACK"];
const HUNG_UP = ["> BYE", "< 200 (BYE)"];

const asked = (service: string) => [`< INVITE ${service}`, "> 180", "> 200, URL inside", "< ACK"];

/** From wine on to another service; REFER is signed like INVITE. */
const moved = (service: string, referred: string) => [
  ...signedIn("wine"),
  ...ANSWERED,
  `> REFER ${referred}`,
  "< 401 (REFER)",
  `> REFER ${referred}`,
  "< 200 (REFER)",
  ...["100", "180", "200"].flatMap((status) => [`< NOTIFY ${status}`, "> 200 (NOTIFY)"]),
  `< INVITE of ${service}, URL`,
  "> 200",
  "< ACK",
];

/** The script of one scene. `anyOrder`: two app servers act at the same time; `without`: what may or may not come. */
export interface Script {
  readonly client: readonly string[];
  readonly server: readonly string[];
  readonly second?: readonly string[];
  readonly anyOrder?: boolean;
  readonly without?: readonly string[];
}

export const SCRIPT = {
  wine: {
    // The client sees a call like any other: no charge reaches it (M14, M16).
    client: [...signedIn("wine"), ...ANSWERED, ...HUNG_UP],
    server: [
      ...asked("wine"),
      "> INFO, charges",
      "< 200 (INFO)",
      "> INFO, charges",
      "< 200 (INFO)",
      "< BYE",
      "> 200 (BYE), charges",
    ],
  },
  lesson: {
    client: [...signedIn("english"), "< 180", "< 200", "> ACK", "< BYE", "> 200 (BYE)"],
    server: ["< INVITE english", "> 180", "> 200", "< ACK", "> BYE", "< 200 (BYE)"],
  },
  refused: {
    client: [...signedIn("wine"), "< 401", "> ACK", ...signedIn("rum"), "< 404", "> ACK"],
    server: [],
  },
  change: {
    client: [
      ...signedIn("wine"),
      ...ANSWERED,
      "> re-INVITE grappa",
      "< 200, URL inside",
      "> ACK",
      "> re-INVITE beer",
      ...ANSWERED,
      ...HUNG_UP,
    ],
    server: [
      ...asked("wine"),
      "< re-INVITE grappa",
      "> 200, URL inside",
      "< ACK",
      "> INFO, charges",
      "< 200 (INFO)",
      "< BYE",
      "> 200 (BYE), charges", // the purchase is charged at the end, however the session goes on
    ],
    second: [...asked("beer"), "< BYE", "> 200 (BYE)"],
  },
  move: {
    client: [...moved("beer", "beer"), "< BYE", "> 200 (BYE)", ...HUNG_UP],
    server: [...asked("wine"), "< BYE", "> 200 (BYE)"],
    second: [...asked("beer"), "< BYE", "> 200 (BYE)"],
    anyOrder: true,
  },
  keep: {
    client: [...moved("beer", "beer, keep"), ...HUNG_UP, ...HUNG_UP],
    server: [...asked("wine"), "< BYE", "> 200 (BYE)"],
    second: [...asked("beer"), "< BYE", "> 200 (BYE)"],
    anyOrder: true,
  },
  books: {
    client: [...signedIn("books"), "< 200, URL inside", "> ACK", "< 200, URL inside", "> ACK", ...HUNG_UP, ...HUNG_UP],
    server: [...asked("books"), "< BYE", "> 200 (BYE)"],
    second: [...asked("books"), "< BYE", "> 200 (BYE)"],
    anyOrder: true,
    // The second app server may ring after the first has accepted. Then the client does not hear the ringing.
    without: ["< 180"],
  },
} as const satisfies Record<string, Script>;
