import { describe, expect, it, onTestFinished } from "vitest";
import { DOMAIN, lines, openPortal, PASSWORD, type Portal, USER } from "./portal.ts";
import { UdpPeer } from "./udp-peer.ts";

const SECRET = encodeURIComponent(PASSWORD);
/** The display name repeats the URI, as some clients do where their user has given none. */
const FROM = `"sip:${USER}:${SECRET}@${DOMAIN}" <sip:${USER}:${SECRET}@${DOMAIN}>`;

async function open(authentication: object) {
  let portal: Portal | undefined;
  const relay = () => ({ address: "127.0.0.1", port: portal!.udp });
  const [client, server] = [await UdpPeer.open(relay), await UdpPeer.open(relay)];
  portal = await openPortal({
    config: {
      authentication,
      services: [{ id: "wine" }],
      appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
    },
  });
  const opened = portal;
  onTestFinished(async () => {
    await opened.close();
    await Promise.all([client.close(), server.close()]);
  });
  /** Everything that went to the app server. */
  const seen: string[] = [];
  server.onMessage = (message) => {
    seen.push(message.headers.fields.map(({ name, value }) => `${name}: ${value}`).join("\n"));
    return false;
  };
  const invite = (from = FROM) => client.invite({ uri: `sip:wine@${DOMAIN}`, from });
  return { portal, client, server, seen, invite };
}

describe("user id and password in From (M2)", () => {
  it.each([
    ["by default, on UDP", {}],
    ["where it is switched off", { fromPassword: "off" }],
  ])("are no sign-in %s: the client is challenged", async (_when, authentication) => {
    const { client, invite, seen, portal } = await open(authentication);
    const request = invite();
    const refusal = await client.nextResponse(401);
    client.ack(request, refusal);
    expect(refusal.headers.all("www-authenticate")[0]).toMatch(/^Digest /);
    expect(portal.relay.counters.requests).toBe(0);
    expect(seen).toEqual([]);
    expect(portal.log()).not.toContain(SECRET);
  });

  it("sign in where the operator allows it, and the password reaches neither the app server nor the log", async () => {
    const { portal, client, server, seen, invite } = await open({ fromPassword: "always" });
    const request = invite();
    const asked = await server.nextRequest("INVITE");
    expect(asked.headers.get("from")).toMatch(new RegExp(`^"sip:${USER}@${DOMAIN}" <sip:${USER}@${DOMAIN}>;tag=`));
    expect(asked.headers.get("p-asserted-identity")).toBe(`<sip:${USER}@${DOMAIN}>`);
    const accepted = server.answer(asked, 200);
    const answer = await client.nextResponse(200);
    client.ack(request, answer);
    await server.nextRequest("ACK");

    // From keeps its password in what the client sends, and has none in what it gets relayed.
    client.inDialog("INFO", request, answer, 2, { body: "hello", type: "text/plain" });
    server.answer(await server.nextRequest("INFO"), 200);
    await client.nextResponse(200);
    server.backInDialog("BYE", asked, accepted, 1);
    const bye = await client.nextRequest("BYE");
    client.answer(bye, 200);
    await server.nextResponse(200);

    expect(lines(await portal.bill())).toEqual(["wine, ended by server: 0"]);
    expect(seen.length).toBeGreaterThanOrEqual(4);
    for (const text of [...seen, portal.log()]) {
      expect(text).not.toContain(SECRET);
      expect(text).not.toContain(PASSWORD);
    }
  });

  it("are refused with 401 where the password is wrong or nobody has that name, and the log does not say the password", async () => {
    const { portal, client, invite, seen } = await open({ fromPassword: "always" });
    for (const from of [`<sip:${USER}:wr0ng-one@${DOMAIN}>`, `<sip:mallory:wr0ng-one@${DOMAIN}>`]) {
      const request = invite(from);
      client.ack(request, await client.nextResponse(401));
    }
    expect(portal.log()).toContain("sign-in refused");
    expect(portal.log()).not.toContain("wr0ng-one");
    expect(seen).toEqual([]);
  });
});
