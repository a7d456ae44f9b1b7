import { err, ok, type Result } from "../support/result.ts";

/** The status line with which a fragment begins. */
export function readFragStatus(body: string): Result<{ readonly status: number; readonly reason: string }, string> {
  const read = /^\s*SIP\/2\.0[ \t]+([1-6]\d\d)(?:[ \t]+([^\r\n]*))?\r?(\n|$)/i.exec(body);
  return read ? ok({ status: Number(read[1]), reason: (read[2] ?? "").trim() }) : err("Bad Fragment");
}
