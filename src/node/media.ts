import type { Config } from "../config/schema.ts";
import { type OpenNgSocket, Rtpengines } from "../media/ng.ts";
import { mediaRelay } from "../relay/media/media.ts";
import type { MediaRelay } from "../relay/model/ports.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { Random } from "../support/random.ts";

/** The operator's rtpengines. */
export interface Media {
  readonly relay: MediaRelay;
  readonly engines: Rtpengines;
  close(): void;
}

/** Undefined where the operator has none: nothing of it is then in any path. */
export function openMedia(
  { media }: Pick<Config, "media">,
  parts: { clock: Clock; random: Random; log: Logger; peerLog: PeerLog; open?: OpenNgSocket },
): Media | undefined {
  const { rtpengines, timeoutMs, retryS, whenUnavailable, interfaces } = media;
  if (rtpengines.length === 0) return undefined;
  const engines = new Rtpengines({ ...parts, engines: rtpengines, timeoutMs, retryMs: retryS * 1000 });
  const relay = mediaRelay({ engines, interfaces, whenUnavailable, peerLog: parts.peerLog });
  return { relay, engines, close: () => engines.close() };
}
