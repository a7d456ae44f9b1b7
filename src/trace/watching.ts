import type { OpenRecord } from "../calls/open-record.ts";
import type { CallRecord } from "../calls/record.ts";
import { type CallFilter, matches } from "./filter.ts";
import type { Seen, SeenMessage } from "./seen.ts";
import { Story, type StoryBounds } from "./story.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** Somebody who looks at calls as they happen. */
export interface Viewer {
  readonly filter: CallFilter;
  /** One thing of a call that is meant; the first call brings all that was seen of it so far, in order. */
  see(story: Story, item: Seen): void;
  /** A stranger's message with the Call-ID that the filter names. */
  seeStranger?(message: SeenMessage): void;
  /** Whether it has room for one more call; default: it has. */
  takesMore?(): boolean;
}

export interface WatchingBounds {
  readonly story: StoryBounds;
  /** Calls of which something is kept, and bytes of all of them. The oldest give way. */
  readonly stories: number;
  readonly bytes: number;
  /** The same of calls that have ended: they are kept for a while, for those who look at a call that is over. */
  readonly ended: { readonly stories: number; readonly bytes: number };
  /** Bytes that messages of unknown callers may take. */
  readonly strangers: number;
}

export const defaultBounds: WatchingBounds = {
  story: { items: 200, bytes: 131_072 },
  stories: 2_000,
  bytes: 33_554_432,
  ended: { stories: 500, bytes: 16_777_216 },
  strangers: 1_048_576,
};

/** Of a message of a session that is gone already. */
export const UNKNOWN_LEG = "app server";

/** The app server with which the messages before had that Call-ID. */
function legIn({ items }: Story, { callId, leg }: SeenMessage): string {
  const before = items.find((item) => item.kind === "message" && item.callId === callId);
  return before?.kind === "message" ? before.leg : leg;
}

/**
 * What is seen of calls while they run (P5): a bounded story for each call, from its first message on, and viewers who
 * are told of what they want to see. What strangers send has a ring of its own until they have signed in.
 */
export class Watching {
  private readonly bounds: WatchingBounds;
  private readonly stories = new Map<OpenRecord, Story>();
  private readonly byCallId = new Map<string, Story>();
  private readonly strangers: WaitingRoom;
  private readonly viewers = new Map<Viewer, WeakMap<Story, boolean>>();
  /** By the sessions that have put something on record. */
  private readonly bySession = new Map<string, Story>();
  /** Of calls that have ended, by the record's id, the oldest first. */
  private readonly endedStories = new Map<string, Story>();
  private endedBytes = 0;
  private begun = 0;
  private bytes = 0;

  constructor(bounds: WatchingBounds = defaultBounds) {
    this.bounds = bounds;
    this.strangers = new WaitingRoom(bounds.strangers);
  }

  get isWatched(): boolean {
    return this.viewers.size > 0;
  }

  get size(): number {
    return this.stories.size;
  }

  /**
   * Returns how to stop it. Calls that run are shown from what was kept of them: with the next thing that happens in
   * them, or at once, where one call is meant.
   */
  watch(viewer: Viewer): () => void {
    const decided = new WeakMap<Story, boolean>();
    this.viewers.set(viewer, decided);
    if (viewer.filter.callId !== undefined)
      for (const story of this.stories.values()) this.decide(viewer, decided, story);
    return () => void this.viewers.delete(viewer);
  }

  /** What was seen of a call that runs, or has ended lately. `id`: of its record. */
  storyNamed(id: string): Story | undefined {
    const ended = this.endedStories.get(id);
    if (ended) return ended;
    for (const [record, story] of this.stories) if (record.id === id) return story;
    return undefined;
  }

  /** What was kept of a call that runs. */
  storyFor(record: OpenRecord): Story | undefined {
    return this.stories.get(record);
  }

  /** The caller of that request is known now: its first messages leave the ring of strangers. */
  known(record: OpenRecord): void {
    if (record.user === "" || record.kind === "change") return;
    const callId = record.ofCallId;
    const story = this.of(record);
    this.byCallId.set(callId, story);
    for (const message of this.strangers.take(callId)) this.tell(story, message);
  }

  /** `record`: of whose call it is, as far as others know. */
  message(message: SeenMessage, record: OpenRecord | undefined): void {
    const story = this.byCallId.get(message.callId) ?? (record && record.user !== "" ? this.of(record) : undefined);
    if (story) {
      this.byCallId.set(message.callId, story);
      this.tell(story, message.leg === UNKNOWN_LEG ? { ...message, leg: legIn(story, message) } : message);
      return;
    }
    this.strangers.add(message);
    for (const viewer of this.viewers.keys())
      if (viewer.filter.callId === message.callId) viewer.seeStranger?.(message);
  }

  /** Anything else that happens in a call. */
  happened(record: OpenRecord, item: Seen): void {
    if (record.user !== "") this.tell(this.of(record), item);
  }

  /** Something that happens to a session, also when its call is over already. */
  happenedTo(session: string, item: Seen): void {
    const story = this.bySession.get(session);
    if (!story) return;
    const bytesBefore = story.bytes;
    if (this.stories.get(story.record) === story) this.tell(story, item);
    else {
      story.add(item);
      this.endedBytes += story.bytes - bytesBefore;
    }
  }

  /** The call is over. Returns what was kept of it, which is forgotten here. */
  ended(open: OpenRecord, record: CallRecord): Story | undefined {
    const story = this.stories.get(open);
    if (!story) return undefined;
    this.tell(story, { kind: "end", at: record.at + record.wholeMs, record });
    this.forget(story);
    this.keepEnded(record.id, story);
    return story;
  }

  private keepEnded(id: string, story: Story): void {
    const { stories, bytes } = this.bounds.ended;
    this.endedStories.set(id, story);
    this.endedBytes += story.bytes;
    for (const [oldest, gone] of this.endedStories) {
      if (this.endedStories.size <= stories && this.endedBytes <= bytes) return;
      this.endedStories.delete(oldest);
      this.endedBytes -= gone.bytes;
      this.forgetSessions(gone);
    }
  }

  private forgetSessions(story: Story): void {
    for (const session of story.sessions) if (this.bySession.get(session) === story) this.bySession.delete(session);
  }

  clear(): void {
    this.endedStories.clear();
    this.endedBytes = 0;
    this.bySession.clear();
    this.stories.clear();
    this.bytes = 0;
    this.byCallId.clear();
    this.strangers.clear();
  }

  private of(record: OpenRecord): Story {
    const before = this.stories.get(record);
    if (before) return before;
    const story = new Story(record, this.bounds.story);
    this.stories.set(record, story);
    this.begun++;
    if (this.stories.size > this.bounds.stories) {
      const [oldest] = this.stories.values();
      if (oldest) this.giveWay(oldest);
    }
    for (const [viewer, decided] of this.viewers)
      if (viewer.filter.sample !== undefined && this.begun % viewer.filter.sample !== 0) decided.set(story, false);
    return story;
  }

  private giveWay(story: Story): void {
    this.forget(story);
    this.forgetSessions(story);
  }

  private forget(story: Story): void {
    if (this.stories.delete(story.record)) this.bytes -= story.bytes;
    for (const item of story.items)
      if (item.kind === "message" && this.byCallId.get(item.callId) === story) this.byCallId.delete(item.callId);
    if (this.byCallId.get(story.record.ofCallId) === story) this.byCallId.delete(story.record.ofCallId);
  }

  private tell(story: Story, item: Seen): void {
    const bytesBefore = story.bytes;
    story.add(item);
    if (item.kind === "charge" && this.bySession.get(item.session) !== story) {
      this.bySession.set(item.session, story);
      story.sessions.push(item.session);
    }
    if (this.stories.get(story.record) === story) this.bytes += story.bytes - bytesBefore;
    while (this.bytes > this.bounds.bytes && this.stories.size > 1) {
      const [oldest] = this.stories.values();
      if (!oldest || oldest === story) break;
      this.giveWay(oldest);
    }
    for (const [viewer, decided] of this.viewers) {
      const before = decided.get(story);
      if (before === false) continue;
      if (before) {
        viewer.see(story, item);
        continue;
      }
      this.decide(viewer, decided, story);
    }
  }

  private decide(viewer: Viewer, decided: WeakMap<Story, boolean>, story: Story): void {
    const meant = matches(viewer.filter, story.record);
    if (meant === undefined) return;
    const takes = meant && (viewer.takesMore?.() ?? true);
    decided.set(story, takes);
    if (takes) for (const one of [...story.items]) viewer.see(story, one);
  }
}
