import { z } from "zod";
import { httpUrlProblem, isHttpUrl } from "../directory/http-address.ts";
import type { Finding } from "./problems.ts";

const seconds = (min: number, max: number) => z.number().min(min).max(max);

/** App servers that are registered with a URL instead of a SIP URI. */
export const httpAppServersSchema = z.strictObject({
  plain: z.boolean().default(false),
  connectS: seconds(0.1, 60).default(3),
  eventS: seconds(0.1, 120).default(10),
  answerBytes: z.int().min(1_024).max(1_048_576).default(65_536),
  connections: z.int().min(1).max(10_000).default(64),
  waiting: z.int().min(1).max(100_000).default(1_000),
  events: z.int().min(1).max(10_000_000).default(100_000),
  retry: z
    .strictObject({
      firstS: seconds(0.1, 3_600).default(1),
      mostS: seconds(0.1, 86_400).default(300),
      giveUpS: seconds(1, 2_592_000).default(86_400),
    })
    .prefault({}),
});

/** App servers with a URL: what goes there is signed, and nobody on the way can read or change it. */
export function httpAppServerMistakes({
  appServers,
  httpAppServers,
  identity,
}: {
  readonly appServers: readonly { readonly uri: string }[];
  readonly httpAppServers: { readonly plain: boolean };
  readonly identity?: object;
}): Finding[] {
  const found: Finding[] = [];
  for (const [i, { uri }] of appServers.entries()) {
    if (!isHttpUrl(uri)) continue;
    const path = ["appServers", i, "uri"];
    const problem = httpUrlProblem(uri, httpAppServers.plain);
    if (problem !== undefined) found.push({ path, message: `expected ${problem}; found "${uri}"` });
    if (identity === undefined)
      found.push({ path, message: `expected identity.url, since requests to ${uri} are signed with the portal's key` });
  }
  return found;
}
