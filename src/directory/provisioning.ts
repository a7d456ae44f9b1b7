import { createHmac } from "node:crypto";
import { sameSecret } from "../sip/digest.ts";
import { partsOf } from "./realms.ts";
import type { Ha1, User } from "./types.ts";

/*
 * How a softphone gets its settings: by a URL that is good for a while, in a QR code. The password is not known here,
 * and is not needed: the phone gets the hash with which it signs in, which is good for this realm alone.
 */

/** What phones are told. */
export interface ProvisioningSettings {
  /** Where phones reach the relay's HTTP. */
  readonly url: string;
  /** Where they send SIP: `sip:portal.example;transport=tls`. */
  readonly sip: string;
  /** How long a URL is good. */
  readonly minutes: number;
}

/** Where phones get their settings, below `url`. */
export const PROVISIONING_PATH = "/provisioning/";

/**
 * What stands in the URL: whose settings, until when (seconds since 1970), and a proof of both that is made of the
 * user's hash. So whoever has the store can make and check it, and a new password makes it worthless.
 */
export function provisioningToken(user: User, until: number): string {
  return `${Buffer.from(user.id, "utf8").toString("base64url")}.${until}.${proofOf(user, until)}`;
}

/** The user whose settings a token gives; undefined: it is none, or too old. `now`: milliseconds since 1970. */
export function provisionedUser(
  token: string,
  userOf: (id: string) => User | undefined,
  now: number,
): User | undefined {
  const [, id, until, proof] = TOKEN.exec(token) ?? [];
  if (id === undefined || until === undefined || proof === undefined) return undefined;
  const user = userOf(Buffer.from(id, "base64url").toString("utf8"));
  if (!user || user.blocked || Number(until) * 1000 < now) return undefined;
  return sameSecret(proof, proofOf(user, Number(until))) ? user : undefined;
}

const TOKEN = /^([\w-]{2,400})\.(\d{1,12})\.([\w-]{43})$/;

const proofOf = ({ id, realm, ha1 }: User, until: number): string =>
  createHmac("sha256", secretOf(ha1).value)
    .update(JSON.stringify(["tollgate provisioning", id, realm, until]))
    .digest("base64url");

const secretOf = ({ sha256, md5 }: Ha1): { algorithm: "SHA-256" | "MD5"; value: string } =>
  sha256 === undefined ? { algorithm: "MD5", value: md5! } : { algorithm: "SHA-256", value: sha256 };

/**
 * The settings of a user as Linphone reads them (its linphonerc, in XML). `domain`: the portal's.
 */
export function linphoneSettings(user: User, domain: string, { sip }: Pick<ProvisioningSettings, "sip">): string {
  const { name, domain: own = domain } = partsOf(user.id);
  const { algorithm, value } = secretOf(user.ha1);
  return `<?xml version="1.0" encoding="UTF-8"?>
<config xmlns="http://www.linphone.org/xsds/lpconfig.xsd">
${section("sip", { default_proxy: "0" })}
${section("proxy_0", {
  reg_proxy: `<${sip}>`,
  reg_route: `<${sip}>`,
  reg_identity: `sip:${name}@${own}`,
  reg_expires: "3600",
  reg_sendregister: "1",
  publish: "0",
})}
${section("auth_info_0", { username: name, ha1: value, algorithm, realm: user.realm, domain: own })}
</config>
`;
}

const section = (name: string, entries: Readonly<Record<string, string>>): string =>
  [
    `  <section name="${name}">`,
    ...Object.entries(entries).map(
      ([key, value]) => `    <entry name="${key}" overwrite="true">${escaped(value)}</entry>`,
    ),
    "  </section>",
  ].join("\n");

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
