/*
 * Which node keeps the copy of a session: the one with the highest weight (rendezvous hashing). Each node works it out
 * alone. When a node is gone, only the copies that it kept move, and they spread over all others.
 */

export interface Place {
  readonly node: string;
  readonly zone: string;
}

/** The node for this session's copy: in another zone than `zone` where there is one. Undefined: there is no node. */
export function standbyFor(session: string, places: readonly Place[], zone: string): string | undefined {
  let best: string | undefined;
  let most = -1;
  let isElsewhere = false;
  for (const place of places) {
    const elsewhere = zone !== "" && place.zone !== "" && place.zone !== zone;
    if (isElsewhere && !elsewhere) continue;
    const weight = weightOf(place.node, session);
    if ((elsewhere && !isElsewhere) || weight > most) {
      best = place.node;
      most = weight;
      isElsewhere = elsewhere;
    }
  }
  return best;
}

/** The home of a key among these nodes. Undefined: there are none. */
export function homeOf(key: string, nodes: Iterable<string>): string | undefined {
  let best: string | undefined;
  let most = -1;
  for (const node of nodes) {
    const weight = weightOf(node, key);
    if (weight <= most) continue;
    best = node;
    most = weight;
  }
  return best;
}

/** FNV-1a over both, mixed once more so that all bits count. */
function weightOf(node: string, session: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < node.length; i++) hash = Math.imul(hash ^ node.charCodeAt(i), 0x01000193);
  for (let i = 0; i < session.length; i++) hash = Math.imul(hash ^ session.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
