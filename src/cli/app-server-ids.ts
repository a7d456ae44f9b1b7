import { monthOf, monthSpan } from "../charging/money/months.ts";
import { formerAppServer } from "../directory/accounts.ts";
import type { Store } from "../store/types.ts";
import { CliError, EXIT } from "./io.ts";

/*
 * An id of an app server may be given again, to another app server. Settlements are by id and month, so what is owed
 * to the first app server must not be paid to the second.
 */

/** Ends the command if something is still owed to the app server that had the id. `inherit`: it is the same one. */
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
 * Notes that an app server is to be removed. Its keys are removed first, so that the next app server does not get
 * them. Returns what to tell the operator.
 */
export async function leaveAppServer(store: Store, id: string): Promise<string> {
  const keys = (await store.appServerKeys.list()).filter(({ appServer }) => appServer === id);
  for (const key of keys) await store.appServerKeys.remove(key.id);
  const before = await store.former.get(formerAppServer(id));
  const removals = (before?.removals ?? 0) + 1;
  await store.former.put({ id: formerAppServer(id), accounts: 1, removals, removedAt: Date.now() });
  return keys.length === 0 ? "" : `, and ${keys.length === 1 ? "its key" : `its ${keys.length} keys`}`;
}
