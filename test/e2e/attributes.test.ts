// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { expect, it, onTestFinished } from "vitest";
import { createClient, type ServiceRequest, serve } from "../../src/sdk/index.ts";
import { DOMAIN, openPortal, PASSWORD, USER } from "./portal.ts";

it("a rule tells the app server what the request is and who the client is, and a client cannot say it in its place (M3)", async () => {
  const asked: ServiceRequest[] = [];
  const server = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    proof: false,
    services: {
      wine: async (request) => {
        asked.push(request);
        await request.accept();
      },
    },
  });
  onTestFinished(() => server.close());
  const portal = await openPortal({
    config: {
      services: [{ id: "wine" }],
      appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
      rules: [
        {
          name: "described",
          when: { body: { "service.@colour": ".+" } },
          then: {
            service: "wine",
            attributes: { colour: "{body.service.@colour}", kind: "still wine" },
            client: { name: "{from.user}", subject: "{header.Subject}" },
          },
        },
        { name: "by name", when: {}, then: {} },
      ],
    },
  });
  onTestFinished(() => portal.close());
  const client = createClient({ relay: portal.uri, user: USER, password: PASSWORD, domain: DOMAIN });
  onTestFinished(() => client.close());

  const description = '<service colour="rosé; &quot;demi-sec&quot;"/>';
  const first = await client.request("wine", { description, headers: { Subject: "a bottle" } });
  expect(asked[0]).toMatchObject({
    attributes: { colour: 'rosé; "demi-sec"', kind: "still wine" },
    client: { name: USER, subject: "a bottle" },
  });
  await first.end();
  const headers = { "Tollgate-Attributes": "colour=free", "Tollgate-Client": "name=boss" };
  await (await client.request("wine", { headers })).end();
  expect(asked[1]).toMatchObject({ attributes: {}, client: {} });
});
