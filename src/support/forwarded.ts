import { canonicalAddress } from "./address.ts";

/** How many proxies may stand one behind the other. */
const MAX_PROXIES = 8;
const MAX_NAME = 64;

/**
 * The address that the operator's own proxies name as the sender's: the last of X-Forwarded-For that is no proxy's.
 * What stands before it was written by strangers. `last`: the address of the last hop. A name is `name:...`: nobody has
 * checked it.
 */
export function forwardedFor(written: string | undefined, last: string, isProxy: (address: string) => boolean): string {
  const noted = written?.split(",") ?? [];
  let address = last;
  for (let i = 0; i < MAX_PROXIES && noted.length > 0 && isProxy(address); i++) {
    const text = noted.pop()!.trim();
    if (text !== "")
      address = canonicalAddress(withoutPort(text)) ?? `name:${text.slice(0, MAX_NAME).replace(/\s/g, "")}`;
  }
  return address;
}

/** Some proxies write `192.0.2.7:4711` and `[2001:db8::1]:4711`. */
const withoutPort = (text: string): string => /^(\[[^\]]*\]|[^:]*):\d{1,5}$/.exec(text)?.[1] ?? text;
