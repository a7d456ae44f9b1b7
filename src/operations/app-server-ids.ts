import { monthOf, monthSpan } from "../charging/money/months.ts";
import { formerAppServer } from "../directory/accounts.ts";
import type { Store } from "../store/types.ts";
import { OperationError } from "./mistake.ts";

/*
 * An id of an app server may be given again, to another app server. Settlements are by id and month, so what is owed
 * to the first app server must not be paid to the second.
 */

/** Throws if something is still owed to the app server that had the id. `inherit`: it is the same one. */
export async function mayHaveAppServer(store: Store, id: string, now: number, inherit: boolean): Promise<void> {
  const former = await store.former.get(formerAppServer(id));
  if (inherit && !former)
    throw new OperationError("usage", `there was no app server ${id} before`, { field: "inherit" });
  if (inherit || !former) return;
  const { removedAt } = former;
  for (let month = monthOf(removedAt); month <= monthOf(now); month = monthOf(monthSpan(month).to)) {
    if ((await store.billing.totalsFor(id, month)).length === 0) continue;
    const day = new Date(removedAt).toISOString().slice(0, 10);
    throw new OperationError(
      "refused",
      `an app server ${id} was removed on ${day}, and what was charged for it in ${month} is settled under that id`,
      { hint: "--inherit if it is the same one, else another id" },
    );
  }
}

/**
 * Notes that an app server is to be removed. Its keys are removed first, so that the next app server does not get
 * them. Resolves to how many keys there were.
 */
export async function leaveAppServer(store: Store, id: string, now: number): Promise<number> {
  const keys = (await store.appServerKeys.list()).filter(({ appServer }) => appServer === id);
  for (const key of keys) await store.appServerKeys.remove(key.id);
  const before = await store.former.get(formerAppServer(id));
  const removals = (before?.removals ?? 0) + 1;
  await store.former.put({ id: formerAppServer(id), accounts: 1, removals, removedAt: now });
  return keys.length;
}
