import type { Side } from "../../../machines/events.ts";
import type { Encodable } from "../../media/bencode.ts";
import type { Manner } from "../../media/sdp.ts";

/** Names of interfaces of rtpengine, by which end they lead to. */
export type Interfaces = Readonly<Record<Side, string>>;

/**
 * What rtpengine is told, beside the description: how the end that the description goes to sends media. `from`: whose
 * description it is.
 */
export function flagsTowards(
  { protocol, ice, mux }: Manner,
  from: Side,
  interfaces: Interfaces | undefined,
): Record<string, Encodable> {
  return {
    replace: ["origin"],
    "transport-protocol": protocol,
    ICE: ice ? "force" : "remove",
    "rtcp-mux": mux ? ["offer", "require"] : ["demux"],
    ...(protocol.startsWith("UDP/TLS/") && { DTLS: "passive", flags: ["generate-mid"] }),
    ...(interfaces && { direction: [interfaces[from], interfaces[from === "client" ? "server" : "client"]] }),
  };
}
