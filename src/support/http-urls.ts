import { isLoopback } from "./address.ts";

/** Whether requests to that URL stay on this machine. */
export const staysHere = ({ hostname }: URL): boolean =>
  hostname === "localhost" || isLoopback(hostname.replace(/^\[|\]$/g, ""));

/** Whether others could read what is sent there. */
export function isOpen(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === "http:" && !staysHere(url);
}

/** Whether something may be posted there; secrets and questions do not belong into the URL. */
export function isPostUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && username + password + search + hash === "";
}
