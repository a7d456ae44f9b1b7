/**
 * Waits for an lmdb write, and throws its cause where it failed. lmdb rejects a second promise with the cause, `commitError`; if nobody
 * listened to it, its rejection would end the process.
 */
export async function written<T>(write: Promise<T>): Promise<T> {
  try {
    return await write;
  } catch (error) {
    const { commitError } = error as { commitError?: Promise<unknown> };
    throw commitError === undefined ? error : await commitError.catch((cause: unknown) => cause);
  }
}
