// node store-child.mjs FOLDER-OF-THE-BUILD FOLDER-OF-THE-STORE [WRITES]
// Writes ten entries at a time without end, or so many times; says on each line "acknowledged N" or "refused N".
import { writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [build, path, count = "Infinity"] = process.argv.slice(2);
const { openEmbeddedStore } = await import(pathToFileURL(`${build}/src/store/embedded.js`));
const store = await openEmbeddedStore(path);
const entry = {
  kind: "item",
  month: "2026-01",
  user: "alice",
  service: "wine",
  appServer: "shop",
  currency: "EUR",
  amount: "0.01",
};
for (let n = 0; n < Number(count); n++) {
  const entries = Array.from({ length: 10 }, (_, i) => ({
    ...entry,
    id: `s${n}:charge:shop:${i}`,
    session: `s${n}`,
    at: n,
    item: "x".repeat(200),
  }));
  const said = await store.billing.write({ accounts: [], entries }).then(
    () => "acknowledged",
    () => "refused",
  );
  writeSync(1, `${said} ${n}\n`);
}
await store.close();
