import { newAppServerKey } from "../../src/directory/app-server-keys.ts";
import type { User } from "../../src/directory/types.ts";
import { Headers, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { systemRandom } from "../../src/support/random.ts";
import { digestAnswer } from "../support/digest-answer.ts";
import type { LabOptions, Peer } from "./harness.ts";

/* What app server `a` and the clients do where it calls alice. */

const { key, secret } = newAppServerKey({
  appServer: "a",
  portalRealm: "portal.com",
  md5: false,
  now: 0,
  random: systemRandom,
});
export const alice: User = { id: "alice", realm: "portal.com", ha1: { sha256: "" } };

/** A relay at which `service1` may call clients, of whom alice is one. */
export const CALLS_CLIENTS = {
  service: { callsClients: true, title: "Wine shop" },
  keys: [key],
  users: [alice],
} satisfies LabOptions;

let registers = 0;
/**
 * A device of alice registers; the answer is not awaited. `at`: the address that it has itself, such as behind a NAT.
 */
export function sendRegister(peer: Peer, contact?: string, at = `${peer.address}:${peer.port}`): void {
  const via = `SIP/2.0/${peer.flow.transport.toUpperCase()} ${at};rport;branch=z9hG4bKreg${++registers}`;
  const fields = new Headers()
    .add("Via", via)
    .add("From", "<sip:alice@portal.com>;tag=r")
    .add("To", "<sip:alice@portal.com>")
    .add("Call-ID", `r${registers}`)
    .add("CSeq", "1 REGISTER")
    .add("Contact", contact ?? `<sip:alice@${at}>`);
  peer.send(new SipRequest("REGISTER", "sip:portal.com", fields));
}

export function register(peer: Peer, contact?: string): void {
  sendRegister(peer, contact);
  peer.response(200);
}

const authorization = (challenge: SipResponse, uri: string): [string, string] => [
  "Authorization",
  digestAnswer({
    ...{ challenge: challenge.headers.get("www-authenticate")!, method: "INVITE", uri },
    ...{ user: key.id, realm: "charges.portal.com", password: secret },
  }),
];

export interface CallToClient {
  readonly uri?: string;
  readonly service?: string;
  readonly headers?: [string, string][];
}

/** The app server's INVITE without credentials; `signed` sends it with them, when the challenge is there. */
export function beginCall(
  server: Peer,
  { uri = "sip:alice@portal.com", service = "service1", headers = [] }: CallToClient = {},
): { signed(): SipRequest } {
  const from = "<sip:service1@portal.com>";
  const named: [string, string] = ["Tollgate-Service", service];
  const first = server.invite({ uri, from, headers: [named], body: "v=0" });
  return {
    signed() {
      const challenge = server.response(401);
      server.ack(first, challenge);
      return server.invite({ uri, from, headers: [named, authorization(challenge, uri), ...headers], body: "v=0" });
    },
  };
}
