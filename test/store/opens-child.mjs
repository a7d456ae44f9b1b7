// node opens-child.mjs FOLDER-OF-THE-BUILD FOLDER-OF-THE-STORE
// Writes 400 users, and opens the store anew for each of them meanwhile; then says how many there are.
import { writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [build, path] = process.argv.slice(2);
const { openEmbeddedStore } = await import(pathToFileURL(`${build}/src/store/embedded.js`));
const store = await openEmbeddedStore(path);
const work = [];
for (let n = 0; n < 400; n++) {
  work.push(store.users.put({ id: `u${n}`, realm: "portal.example", ha1: { sha256: "ab" } }));
  const again = await openEmbeddedStore(path);
  await again.users.get("u0");
  work.push(again.close());
  await new Promise(setImmediate);
}
await Promise.all(work);
await store.close();
const last = await openEmbeddedStore(path);
const { length } = await last.users.list();
await last.close();
writeSync(1, `400 written, ${length} seen by who opened it last\n`);
