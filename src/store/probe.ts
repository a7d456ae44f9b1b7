import { connect } from "./mongo-connect.ts";
import type { MongoSettings } from "./settings.ts";

/**
 * Looks whether MongoDB can be used, and changes nothing there. Resolves to how far this machine's clock is ahead of
 * the server's, in milliseconds. Rejects with what is wrong.
 */
export async function probeMongo(settings: MongoSettings, withinS: number): Promise<number | undefined> {
  const timeoutS = Math.min(settings.timeoutS, withinS);
  const { client, database } = await connect({ ...settings, timeoutS });
  try {
    const before = Date.now();
    const admin = client.db(database).admin();
    // `isMaster` is the name before MongoDB 4.4.2.
    const { localTime } = await admin.command({ hello: 1 }).catch(() => admin.command({ isMaster: 1 }));
    return localTime instanceof Date ? Math.round((before + Date.now()) / 2 - localTime.getTime()) : undefined;
  } finally {
    await client.close();
  }
}
