/** A dialog as Target-Dialog names it (RFC 4538), with the tags as the sender sees them. */
export interface TargetDialog {
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
}

/** Reads what the relay writes. `src/sip` reads what anybody writes, but not in a browser. */
export function readTargetDialog(text: string): TargetDialog | undefined {
  const [callId = "", ...params] = text.split(";").map((part) => part.trim());
  const tag = (name: string) => params.find((param) => param.startsWith(`${name}=`))?.slice(name.length + 1);
  const [localTag, remoteTag] = [tag("local-tag"), tag("remote-tag")];
  return callId === "" || !localTag || !remoteTag ? undefined : { callId, localTag, remoteTag };
}
