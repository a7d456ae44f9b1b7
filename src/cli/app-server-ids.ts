import { monthOf, monthSpan } from "../charging/money/months.ts";
import { formerAppServer } from "../directory/accounts.ts";
import type { Store } from "../store/types.ts";
import { CliError, EXIT } from "./io.ts";

/*
 * An id of an app server may be given again, to another one. What is owed to the one must not be paid to the other:
 * settlements are by id and month.
 */

/** Ends the command where an id that is free is still of the one that had it before. `inherit`: it is the same one. */
export async function mayHaveAppServer(store: Store, id: string, { inherit }: Record<string, unknown>): Promise<void> {
  const former = await store.former.get(formerAppServer(id));
  if (inherit && !former) throw new CliError(`--inherit: there was no app server ${id} before`, EXIT.usage);
  if (inherit || !former) return;
  const { removedAt } = former;
  for (let month = monthOf(removedAt); month <= monthOf(Date.now()); month = monthOf(monthSpan(month).to)) {
    if ((await store.billing.totalsFor(id, month)).length === 0) continue;
    const day = new Date(removedAt).toISOString().slice(0, 10);
    throw new CliError(
      `an app server ${id} was removed on ${day}, and what was charged for it in ${month} is settled under that id: --inherit if it is the same one, else another id`,
    );
  }
}

/**
 * Remembers one that is to be removed, and removes its keys first: they are not the next one's. Returns what is to be
 * said of it.
 */
export async function leaveAppServer(store: Store, id: string): Promise<string> {
  const keys = (await store.appServerKeys.list()).filter(({ appServer }) => appServer === id);
  for (const key of keys) await store.appServerKeys.remove(key.id);
  const before = await store.former.get(formerAppServer(id));
  const removals = (before?.removals ?? 0) + 1;
  await store.former.put({ id: formerAppServer(id), accounts: 1, removals, removedAt: Date.now() });
  return keys.length === 0 ? "" : `, and ${keys.length === 1 ? "its key" : `its ${keys.length} keys`}`;
}
