import { describe, expect, it } from "vitest";
import { newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { Registrations } from "../../src/node/registrations.ts";
import { Headers, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { systemRandom } from "../../src/support/random.ts";
import { digestAnswer } from "../support/digest-answer.ts";
import { type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

/* App servers that say by REGISTER where they are and what they serve, in place of being configured (RFC 3261 §10). */

const made = newAppServerKey({
  appServer: "brewery",
  portalRealm: "portal.com",
  md5: false,
  serves: ["beer"],
  now: 0,
  random: systemRandom,
});
const other = newAppServerKey({ appServer: "a", portalRealm: "portal.com", md5: false, now: 0, random: systemRandom });

async function opened(options: LabOptions = {}) {
  const keys = [made.key, other.key];
  const l = await lab({ more: [{ id: "beer" }, { id: "wine" }], keys, ...options });
  const registrations = new Registrations(l.core);
  registrations.start();
  return { l, keys, brewery: l.peer("192.0.2.200", 5060), registrations };
}

let sent = 0;

interface Said {
  readonly services?: string;
  readonly contact?: string;
  readonly who?: typeof made;
  readonly expires?: number;
}

/** Registers, is challenged, and registers with credentials. */
function register(peer: Peer, said: Said = {}): SipResponse {
  const { services = "beer", contact = `<sip:${peer.address}:${peer.port}>`, who = made, expires = 600 } = said;
  const send = (more: readonly [string, string][]) => {
    const fields = new Headers()
      .add("Via", `SIP/2.0/UDP ${peer.address}:${peer.port};branch=z9hG4bKas${++sent}`)
      .add("From", "<sip:brewery@portal.com>;tag=b")
      .add("To", "<sip:brewery@portal.com>")
      .add("Call-ID", `as${sent}`)
      .add("CSeq", `${sent} REGISTER`)
      .add("Contact", contact)
      .add("Expires", String(expires))
      .add("Tollgate-Service", services);
    for (const [name, value] of more) fields.add(name, value);
    peer.send(new SipRequest("REGISTER", "sip:portal.com", fields));
    const answer = peer.inbox.shift();
    if (!answer || answer.isRequest) throw new Error("no answer");
    return answer;
  };
  const challenge = send([]).headers.get("www-authenticate")!;
  const credentials = digestAnswer({
    ...{ challenge, method: "REGISTER", uri: "sip:portal.com" },
    ...{ user: who.key.id, realm: "charges.portal.com", password: who.secret },
  });
  return send([["Authorization", credentials]]);
}

/** What a client hears that asks for beer, and whether the brewery was asked. */
async function asksForBeer(l: Lab, brewery: Peer): Promise<string> {
  l.client.invite({ uri: "sip:beer@portal.com" });
  await l.settle();
  const [asked] = brewery.inbox.splice(0);
  if (asked?.isRequest) {
    brewery.answer(asked, 486);
    brewery.inbox.length = 0;
    l.client.inbox.length = 0;
    return "asked";
  }
  const answer = l.client.inbox.splice(0)[0] as SipResponse;
  return String(answer.status);
}

describe("an app server that registers what it serves", () => {
  it("is asked from then on, and not any more when it leaves or its time is over", async () => {
    const { l, brewery } = await opened();
    expect(await asksForBeer(l, brewery)).toBe("404");
    const answer = register(brewery);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("tollgate-service")).toBe("beer");
    expect(answer.headers.get("contact")).toBe("<sip:192.0.2.200:5060>;expires=600");
    expect(await asksForBeer(l, brewery)).toBe("asked");
    expect(register(brewery, { expires: 0 }).status).toBe(200);
    expect(await asksForBeer(l, brewery)).toBe("404");
    register(brewery);
    l.clock.advance(606_000);
    expect(await asksForBeer(l, brewery)).toBe("404");
  });

  it("moves with its next REGISTER: it has one place", async () => {
    const { l, brewery } = await opened();
    register(brewery);
    const moved = l.peer("192.0.2.201", 5060);
    register(moved);
    expect(await asksForBeer(l, moved)).toBe("asked");
    expect(brewery.inbox).toEqual([]);
    expect(l.core.directory.offering("beer")).toBe(1);
  });

  it.each<[what: string, said: Said, status: number]>([
    ["a service that its key does not allow", { services: "wine" }, 403],
    ["one that it allows beside one that it does not", { services: "beer, wine" }, 403],
    ["no service", { services: "" }, 403],
    ["another machine's address", { contact: "<sip:192.0.2.9:5060>" }, 403],
    ["a name that it has not proved", { contact: "<sip:brewery.example>" }, 403],
    ["the relay's own address", { contact: "<sip:192.0.2.1:5060>" }, 403],
    ["too short a time", { expires: 5 }, 423],
    ["a key that allows nothing", { who: other }, 403],
  ])("is refused with %s", async (_what, said, status) => {
    const { l, brewery } = await opened();
    expect(register(brewery, said).status).toBe(status);
    expect(l.core.directory.offering("beer")).toBe(0);
    expect(l.core.bindings.size).toBe(0);
  });

  it("is refused where it is configured: the configuration wins", async () => {
    const servers = [{ id: "a" }, { id: "brewery", uri: "sip:192.0.2.150:5060", services: ["beer"] }];
    const { l, brewery } = await opened({ servers });
    expect(register(brewery).status).toBe(403);
    expect(l.core.directory.appServer("brewery")?.uri).toBe("sip:192.0.2.150:5060");
  });

  it("is gone with its key, and known after the directory is read again", async () => {
    const { l, keys, brewery } = await opened();
    register(brewery);
    await l.core.directory.reload();
    expect(l.core.directory.offering("beer")).toBe(1);
    keys.length = 0;
    await l.core.directory.reload();
    expect(l.core.directory.offering("beer")).toBe(0);
  });
});
