import { staysHere } from "../support/http-urls.ts";
import { insideAddress } from "../transport/inside.ts";
import type { AppServer } from "./types.ts";

/*
 * App servers that speak no SIP: registered with a URL. The relay plays their SIP part (src/app-servers), which has an
 * address within this process. So to all that asks, invites and looks after app servers they are like the others.
 */

const MAX_URL = 1_000;

export const HTTP_URL_EXPECTED = "a URL such as https://shop.example/tollgate, without user, password and fragment";
export const HTTPS_EXPECTED = "https, since others could read and change what goes over the net";

export const isHttpUrl = (uri: string): boolean => /^https?:/i.test(uri);

/** What is wrong with an app server's URL; undefined: nothing. `plain`: http may leave this machine. */
export function httpUrlProblem(text: string, plain: boolean): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isRight = url && isHttpUrl(text) && url.username === "" && url.password === "" && url.hash === "";
  if (!isRight || text.length > MAX_URL || /[\s\\]/.test(text)) return HTTP_URL_EXPECTED;
  return plain || url.protocol === "https:" || staysHere(url) ? undefined : HTTPS_EXPECTED;
}

/** An app server as the relay asks it: one that is registered with a URL has the URI of its SIP part, and `url`. */
export function withSipPart(server: AppServer): AppServer {
  if (!isHttpUrl(server.uri)) return server;
  return { ...server, uri: `sip:${server.id}@[${insideAddress(server.id)}];transport=http`, url: server.uri };
}
