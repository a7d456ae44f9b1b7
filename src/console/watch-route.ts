import type { Hono } from "hono";
import type { CallFilter } from "../trace/filter.ts";
import { masked } from "../trace/mask.ts";
import type { Seen, SeenMessage } from "../trace/seen.ts";
import { textOf } from "../trace/text.ts";
import type { Viewer } from "../trace/watching.ts";
import type { Env } from "./http.ts";

/** One line of what is watched, as JSON. `call`: the id of the call's record. */
export interface WatchLine {
  readonly at: number;
  readonly call?: string;
  readonly callId?: string;
  readonly session?: string;
  readonly user?: string;
  readonly service?: string;
  readonly kind: Seen["kind"] | "left out";
  readonly text: string;
  /** The whole message, masked, where it was asked for. */
  readonly message?: string;
}

/** The first line: from now on everything is shown. */
export const WATCHING = "{}";
/** Lines that may wait for somebody who reads slowly. What comes then is counted and left out. */
const MOST_WAITING = 2_000;

/**
 * `GET /watch`: what happens in calls, as it happens, a JSON text on each line, until the reader goes. The query names
 * the calls (`user`, `service`, `callId`), and `full=1` asks for whole messages.
 */
export function addWatchRoute(app: Hono<Env>, watch: (viewer: Viewer) => (() => void) | undefined): void {
  app.get("/watch", (c) => {
    const { user, service, callId, full } = c.req.query();
    const filter: CallFilter = {
      ...(user !== undefined && { user }),
      ...(service !== undefined && { service }),
      ...(callId !== undefined && { callId }),
    };
    let end: (() => void) | undefined;
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          const lines = new Lines(controller, full === "1");
          end = watch({
            filter,
            see: ({ record }, item) => {
              const { user, service, call, ofCallId } = record;
              lines.put(item, { call: record.name, ...(call && { callId: ofCallId }), user, service });
            },
            seeStranger: (item) => lines.put(item, { callId: item.callId }),
          });
          controller.enqueue(encoder.encode(`${WATCHING}\n`));
        },
        cancel: () => end?.(),
      },
      { highWaterMark: MOST_WAITING },
    );
    if (!end) throw new Error("the relay is not ready yet");
    return c.body(stream, 200, { "Content-Type": "application/x-ndjson" });
  });
}

const encoder = new TextEncoder();

class Lines {
  private readonly controller: ReadableStreamDefaultController<Uint8Array>;
  private readonly full: boolean;
  private leftOut = 0;

  constructor(controller: ReadableStreamDefaultController<Uint8Array>, full: boolean) {
    this.controller = controller;
    this.full = full;
  }

  put(item: Seen | SeenMessage, about: Partial<WatchLine>): void {
    if ((this.controller.desiredSize ?? 0) <= 1) {
      this.leftOut++;
      return;
    }
    if (this.leftOut > 0) {
      const text = `${this.leftOut} lines were left out: they are read too slowly`;
      this.leftOut = 0;
      this.write({ at: item.at, kind: "left out", text });
    }
    const { kind, at } = item;
    const message = this.full && item.kind === "message" ? { message: masked(item.bytes) } : {};
    this.write({ at, ...about, kind, text: textOf(item), ...message });
  }

  private write(line: WatchLine): void {
    this.controller.enqueue(encoder.encode(`${JSON.stringify(line)}\n`));
  }
}
