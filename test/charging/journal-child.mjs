// node journal-child.mjs FOLDER-OF-THE-BUILD FOLDER-OF-THE-JOURNAL away|takes [EVENTS] Appends without end, or so many
// events; says on each line what became of one: "acknowledged ID", "refused ID REASON", "published ID".
import { writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [build, path, mode, count = "Infinity"] = process.argv.slice(2);
const { openJournal } = await import(pathToFileURL(`${build}/src/charging/journal/journal.js`));
const say = (line) => writeSync(1, `${line}\n`);
const clock = { wall: Date.now, monotonic: () => performance.now(), setTimeout, clearTimeout };
const quiet = () => {};
const log = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };
const bus = {
  async publish(events) {
    if (mode === "away") throw new Error("away");
    for (const { id } of events) say(`published ${id}`);
  },
};
const journal = await openJournal({ path, bus, clock, log, commitEveryMs: 2, publishEveryMs: 5 });
const session = { id: "", user: "alice", service: "wine", appServer: "shop", call: "c", filling: "x".repeat(200) };
let pending = 0;
for (let n = 0; n < Number(count); n++) {
  const id = `${process.pid}-${n}`;
  pending++;
  journal
    .append({ type: "session.started", id, at: n, session })
    .then(
      () => say(`acknowledged ${id}`),
      (error) => say(`refused ${id} ${error.message}`),
    )
    .finally(() => pending--);
  if (n % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 1));
}
while (pending > 0) await new Promise((resolve) => setTimeout(resolve, 1));
say(`full ${journal.full}`);
await journal.close();
