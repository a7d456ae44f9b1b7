import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { lines, openPortal, PASSWORD, USER } from "../e2e/portal.ts";
import { ROOT } from "../support/project.ts";
import { kindOf, Names, PagePeer, stepsOf } from "./wire-page.ts";

const page = readFileSync(join(ROOT, "src/sdk/WIRE.md"), "utf8");
const steps = stepsOf(page);
const KEY = { id: "k7f3q9", secret: "told to nobody" };
const accounts = {
  [USER]: { realm: "portal.example", password: PASSWORD },
  [KEY.id]: { realm: "charges.portal.example", password: KEY.secret },
};

describe("the messages in src/sdk/WIRE.md", () => {
  it("are of each kind, have the right length, and digests that alice's password and the key's secret make", () => {
    const sent = new Set(steps.map(({ text }) => kindOf(text)));
    for (const kind of ["INVITE", "INFO", "UPDATE", "REFER", "NOTIFY", "BYE", "MESSAGE"]) expect(sent).toContain(kind);
    const names = new Names(new Map(), accounts);
    for (const { text } of steps.filter(({ sends }) => sends)) expect(names.toSend(text)).toBe(text);
  });

  it("are what goes over the wire: to a relay that runs, and from it", { timeout: 20_000 }, async () => {
    let at = 0;
    const rest = () => steps.slice(at);
    const peer = (name: string) =>
      new PagePeer((kind, sends) =>
        rest().some((one) => one.peer === name && one.sends === sends && kindOf(one.text) === kind),
      );
    const peers = { Client: peer("Client"), Cellar: peer("Cellar"), Brewery: peer("Brewery") };
    const addresses = new Map<string, string>();
    for (const [place, house] of [
      ["192.0.2.20:5070", peers.Cellar],
      ["192.0.2.30:5070", peers.Brewery],
    ] as const)
      addresses.set(place, `127.0.0.1:${await house.listen()}`);
    let yaml = /```yaml\n([\s\S]*?)```/.exec(page)![1]!;
    for (const [place, address] of addresses) yaml = yaml.replace(place, address);
    const { listen: _, ...config } = parse(yaml);
    const random = { token: (bits: number) => (bits > 64 ? KEY.secret : KEY.id) };
    const { key } = newAppServerKey({ appServer: "brewery", portalRealm: "portal.example", md5: true, now: 0, random });
    const portal = await openPortal({ config, prepare: (store) => store.appServerKeys.put(key) });
    addresses.set("192.0.2.1:5060", `127.0.0.1:${portal.tcp}`);
    addresses.set("192.0.2.10:49152", `127.0.0.1:${await peers.Client.dial(portal.tcp)}`);
    const names = new Names(addresses, accounts);

    for (const { peer, sends, text } of steps) {
      const one = peers[peer as keyof typeof peers];
      if (sends) one.send(names.toSend(text));
      else expect(names.seen(await one.next(), text)).toBe(text);
      at++;
    }
    for (const one of Object.values(peers)) one.close();
    const billed = lines(await portal.bill());
    await portal.close();
    expect(billed.filter((line) => / x /.test(line))).toEqual([
      "1 x Broken glass by message: 3.00 EUR",
      "2 x Riesling by info: 25.00 EUR",
      "1 x Delivery by info: 4.90 EUR",
      "1 x Tasting by bye: 5.00 EUR",
    ]);
  });
});
