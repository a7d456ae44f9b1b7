import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { it } from "vitest";
import { createClient } from "../../../src/sdk/index.ts";
import { DOMAIN, PASSWORD, USER } from "../../e2e/portal.ts";
import { ROOT } from "../../support/project.ts";
import { until } from "../../support/until.ts";
import { isShown, type Look, visit } from "../page/browser.ts";
import { openLab } from "../page/console-lab.ts";

/* `npm run pictures`: takes ops/console/*.webp anew, from pages that show calls that were really made. */

const SIZE: Look = { width: 1280, height: 800 };
const TELEPHONE: Look = { width: 390, height: 800 };
/** Of WebP; texts are still sharp. */
const QUALITY = 0.6;
/** So many points, and there is something in the graph. */
const GRAPH_POINTS = 6;

it("takes a picture of each page of the console", async () => {
  const lab = await openLab();
  try {
    let last: unknown;
    const open = async () => {
      const session = await lab.client.request("wine");
      await until(() => lab.session() !== last); // the shop has it, too
      last = lab.session();
      return session;
    };
    const buy = (item: string, unitPrice: string, quantity = 1) =>
      lab.session().charge({ item, unitPrice, quantity, currency: "EUR" });
    // Some that are over, one that was refused, one that nobody offers, one with a wrong password, one that stands.
    for (const [item, price] of [
      ["Riesling", "12.50"],
      ["Spätburgunder", "18.00"],
      ["Silvaner", "9.90"],
    ] as const) {
      const session = await open();
      await buy(item, price, 2);
      await session.end();
    }
    lab.shop.refuse = [603, "Closed on Sundays"];
    await lab.client.request("wine").catch(() => {});
    delete lab.shop.refuse;
    await lab.client.request("beer").catch(() => {});
    const wrong = createClient({ relay: lab.portal.uri, user: USER, password: `${PASSWORD}?`, domain: DOMAIN });
    await wrong.request("wine").catch(() => {});
    await wrong.close();
    const session = await open();
    await buy("Riesling", "12.50");
    await buy("Corkscrew", "4.90");
    const running = `call/${await lab.newest()}`;
    const shots: readonly (readonly [
      name: string,
      path: string,
      look: Look,
      ready?: (page: Page) => Promise<unknown>,
    ])[] = [
      ["call", running, SIZE, (page) => page.locator("[data-bill]").getByText("Corkscrew").waitFor()],
      ["call-dark", running, { ...SIZE, dark: true }, (page) => page.getByText("Corkscrew").first().waitFor()],
      ["call-telephone", running, TELEPHONE, (page) => page.getByText("Corkscrew").first().waitFor()],
      ["calls", "calls", SIZE],
      ["calls-telephone", "calls", TELEPHONE],
      ["charts", "charts/session?state=established.steady", SIZE],
      [
        "network",
        "network",
        SIZE,
        (page) =>
          page
            .locator(".twin tbody tr")
            .nth(GRAPH_POINTS - 1)
            .waitFor({ state: "attached" }),
      ],
      ["people", "people", SIZE],
      ["money", "money?user=alice", SIZE],
      ["try", "try", SIZE],
    ];
    for (const [name, path, look, ready] of shots) {
      const { page } = await visit(lab.at(path, lab.operator), look);
      await isShown(page);
      await ready?.(page);
      const file = join(ROOT, "ops", "console", `${name}.webp`);
      const bytes = await asWebP(page, await page.screenshot());
      writeFileSync(file, bytes);
      console.log(`${file}: ${Math.round(bytes.length / 1_024)} kB`);
    }
    await session.end();
  } finally {
    await lab.close();
  }
});

/** The browser itself makes the picture small. */
async function asWebP(from: Page, png: Buffer): Promise<Buffer> {
  const page = await from.context().newPage();
  const url = `data:image/png;base64,${png.toString("base64")}`;
  const made = await page.evaluate(
    `new Promise((resolve, reject) => {
      const image = new Image();
      image.onerror = reject;
      image.onload = () => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.width, image.height];
        canvas.getContext("2d").drawImage(image, 0, 0);
        resolve(canvas.toDataURL("image/webp", ${QUALITY}));
      };
      image.src = ${JSON.stringify(url)};
    })`,
  );
  await page.close();
  return Buffer.from(String(made).split(",")[1]!, "base64");
}
