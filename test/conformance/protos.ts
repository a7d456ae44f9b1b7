import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { filesOf } from "./tar.ts";

/*
 * PROTOS c07-sip-r2 (University of Oulu, 2003): 4,527 INVITEs made to break parsers. They are under the GPL and so no
 * part of this repository: put c07-sip-r2-cases.tar.gz into a folder, and name it by PROTOS_DIR (default:
 * ../shared/protos beside the repository).
 */

const folder = process.env.PROTOS_DIR ?? fileURLToPath(new URL("../../../shared/protos", import.meta.url));
const archive = join(folder, "c07-sip-r2-cases.tar.gz");

/** Why the cases are not here; undefined: they are. */
export const missing = existsSync(archive)
  ? undefined
  : `no ${archive}: set PROTOS_DIR to the folder of the PROTOS c07-sip-r2 cases`;
if (missing !== undefined) console.warn(`PROTOS conformance tests skipped: ${missing}`);

export const CASES = 4_527;

/** What stands for the placeholders of the cases. */
export type ProtosValues = Readonly<
  Record<"To" | "From" | "From-Address" | "From-IP" | "Local-Port" | "Branch-ID" | "Call-ID" | "CSeq", string>
>;

export interface ProtosCase {
  readonly path: string;
  readonly invite: Buffer;
  /** CANCEL of the same request; a few cases have none. */
  readonly teardown: Buffer | undefined;
}

/** All cases in order, case 0 the valid one, filled in with the values for each. */
export function* protosCases(valuesOf: (index: number) => ProtosValues): Generator<ProtosCase> {
  let index = 0;
  for (const { path, content } of filesOf(readFileSync(archive))) {
    if (!path.includes("/cases/")) continue;
    const [invite, teardown] = messagesOf(content, valuesOf(index++));
    if (!invite) throw new Error(`${path} is empty`);
    yield { path, invite, teardown };
  }
}

/** Each case file is `<length> message<length> message`: an INVITE and a request that ends it. */
function messagesOf(content: Buffer, values: ProtosValues): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < content.length && messages.length < 2; ) {
    const space = content.indexOf(" ", at);
    const length = Number(content.toString("latin1", at, space));
    if (space < 0 || !Number.isSafeInteger(length)) throw new Error("not a case of PROTOS");
    const template = content.toString("latin1", space + 1, space + 1 + length);
    messages.push(filled(template, messages.length === 0 ? "INVITE" : "CANCEL", values));
    at = space + 1 + length;
  }
  return messages;
}

function filled(template: string, method: string, values: ProtosValues): Buffer {
  let text = template.replaceAll("<Teardown-Method>", method);
  for (const [name, value] of Object.entries(values)) text = text.replaceAll(`<${name}>`, value);
  const end = text.indexOf("\r\n\r\n");
  return Buffer.from(text.replaceAll("<Content-Length>", String(end < 0 ? 0 : text.length - end - 4)), "latin1");
}
