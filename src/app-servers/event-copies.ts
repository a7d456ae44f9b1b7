import type { KeptEvent } from "./event-file.ts";

export interface EventCopiesOptions {
  /** This node's name. */
  readonly node: string;
  /** Tells all nodes. */
  readonly tell: (text: string) => void;
  /** How many events of each other node are kept. */
  readonly most: number;
}

/**
 * Copies of the events that other nodes still have to tell app servers. When a node dies or leaves, another one tells
 * them. The node may come back and tell them too: an event has the same id then, and each charge in an answer is made
 * once.
 */
export class EventCopies {
  private readonly options: EventCopiesOptions;
  private readonly others = new Map<string, Map<string, KeptEvent>>();

  constructor(options: EventCopiesOptions) {
    this.options = options;
  }

  /** This node has to tell an event. */
  kept(event: KeptEvent): void {
    const { node, tell } = this.options;
    tell(JSON.stringify({ node, kept: event }));
  }

  /** This node need not tell it any more. */
  gone({ id }: KeptEvent): void {
    const { node, tell } = this.options;
    tell(JSON.stringify({ node, gone: id }));
  }

  /** What a node of this cluster has said. */
  heard(text: string): void {
    const said = read(text);
    if (!said || said.node === this.options.node) return;
    const { node, kept, gone } = said;
    const events = this.others.get(node) ?? new Map<string, KeptEvent>();
    if (gone !== undefined) events.delete(gone);
    if (kept && events.size < this.options.most) events.set(kept.id, kept);
    if (events.size > 0) this.others.set(node, events);
    else this.others.delete(node);
  }

  /** The nodes of which there are events. */
  get nodes(): readonly string[] {
    return [...this.others.keys()];
  }

  /** The events of a node that is gone, in the order in which they happened. They are forgotten here. */
  take(node: string): KeptEvent[] {
    const events = [...(this.others.get(node)?.values() ?? [])];
    this.others.delete(node);
    return events;
  }
}

const TEXTS = ["id", "appServer", "chain", "session", "type", "body"] as const;

/** A node has written it, perhaps one of another version. */
function read(text: string): { node: string; kept?: KeptEvent; gone?: string } | undefined {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof said !== "object" || said === null) return undefined;
  const { node, kept, gone } = said as Record<string, unknown>;
  if (typeof node !== "string") return undefined;
  if (typeof gone === "string") return { node, gone };
  if (typeof kept !== "object" || kept === null) return undefined;
  const event = kept as Record<string, unknown>;
  const isRight = TEXTS.every((name) => typeof event[name] === "string") && typeof event.at === "number";
  return isRight ? { node, kept: kept as KeptEvent } : undefined;
}
