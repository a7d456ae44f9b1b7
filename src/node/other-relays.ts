import type { Bus } from "../bus/types.ts";
import type { Outcome } from "../charging/charges/book.ts";
import { readAnswer, readQuestion, sealKey, writeAnswer, writeQuestion } from "../charging/charges/book-questions.ts";
import type { DirectCharges, DirectRequest } from "../charging/charges/direct.ts";
import type { AppServerKey } from "../directory/types.ts";
import type { Random } from "../support/random.ts";

export interface OtherRelaysOptions {
  readonly bus: Pick<Bus, "ask">;
  readonly random: Random;
  readonly keysOf: (appServer: string) => readonly AppServerKey[];
}

/** Longer than a relay waits for billing. */
const ANSWER_WITHIN_MS = 3_500;

/**
 * Asks the relay that has a session's book. Undefined: that relay is not there, or there are no other relays. Rejects
 * if no answer comes in time, or if a relay has not sealed it. Also rejects if the app server has no keys: then the
 * other relay could not know who asks.
 */
export async function askRelay(
  { bus, random, keysOf }: OtherRelaysOptions,
  node: string,
  appServer: string,
  request: DirectRequest,
): Promise<Outcome | undefined> {
  if (!bus.ask) return undefined;
  const key = sealKey(keysOf(appServer));
  if (!key) throw new Error(`app server ${appServer} has no key: another relay has the session`);
  const nonce = random.token(96);
  const text = await bus.ask(node, writeQuestion(key, nonce, appServer, request), ANSWER_WITHIN_MS);
  if (text === undefined) return undefined;
  const outcome = readAnswer(key, nonce, text);
  if (!outcome.ok) throw new Error(outcome.error);
  return outcome.value;
}

/** Answers another relay's question from the book here; undefined: no relay has sealed it, so there is no answer. */
export async function answerRelay(
  {
    direct,
    keysOf,
  }: { readonly direct: Pick<DirectCharges, "chargeHere">; readonly keysOf: OtherRelaysOptions["keysOf"] },
  text: string,
): Promise<string | undefined> {
  const question = readQuestion(text, (appServer) => sealKey(keysOf(appServer)));
  if (!question) return undefined;
  const { appServer, nonce, request } = question;
  return writeAnswer(sealKey(keysOf(appServer))!, nonce, await direct.chargeHere(appServer, request));
}
