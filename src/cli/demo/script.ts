/*
 * What has to go over the wire in each scene, seen from either side of the relay: `>` is what that side sent, `<` what it got. 100 Trying may come or not and is left out.
 */

const signedIn = (service: string) => [`> INVITE ${service}`, "< 401", "> ACK", `> INVITE ${service}, signed`];

export const SCRIPT = {
  wine: {
    // The client sees a call like any other: no charge reaches it (M14, M16).
    client: [...signedIn("wine"), "< 180", "< 200, URL inside", "> ACK", "> BYE", "< 200 (BYE)"],
    server: [
      "< INVITE wine",
      "> 180",
      "> 200, URL inside",
      "< ACK",
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
    client: [...signedIn("wine"), "< 401", "> ACK", ...signedIn("beer"), "< 404", "> ACK"],
    server: [],
  },
} as const;
