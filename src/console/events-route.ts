import type { Context, Hono } from "hono";
import { z } from "zod";
import { mistakeText, OperationError } from "../operations/mistake.ts";
import { checkedInput, idField, operation } from "../operations/operation.ts";
import type { Audit } from "../operations/perform.ts";
import type { EventStreams } from "./event-stream.ts";
import { answered, type Env } from "./http.ts";
import type { OperationDesk } from "./operation-routes.ts";
import { problem } from "./problem.ts";

/** What happens in calls, as it happens: an operation whose answer does not end. */
export const watchCalls = operation({
  id: "watchCalls",
  method: "GET",
  path: "/v1/events",
  summary: "What happens in calls, as it happens: messages, moves of the charts, charges, timers",
  right: "see",
  personal: true,
  live: true,
  input: z.strictObject({
    user: idField.optional(),
    service: idField.optional(),
    callId: z.string().min(1).max(512).optional().describe("Of either side, also of a stranger."),
    call: z.string().min(1).max(128).optional().describe("The id of a record: of that call alone."),
    full: z.enum(["1", "true"]).optional().describe("Whole messages, without what is secret in them."),
  }),
  output: z.string(),
  run: () => "",
});

/** `GET /v1/events`: server-sent events, as HTML's standard has them (§9.2). */
export function addEventsRoute(app: Hono<Env>, desk: OperationDesk, streams: EventStreams, audit: Audit): void {
  app.get(watchCalls.path, (c: Context<Env>) =>
    desk.admit(c, watchCalls.right, async (context) => {
      try {
        const { full, call, ...given } = checkedInput(watchCalls, c.req.query());
        const filter = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
        const whose = `${context.caller.role} ${context.caller.name}`;
        const last = c.req.header("last-event-id")?.slice(0, 100);
        const stream = streams.open({ filter, full: full !== undefined, call }, whose, last);
        if (!stream) return answered(c, problem("too-many", "there are as many streams as there may be", RETRY));
        await audit.note(watchCalls, context, given, "done");
        return c.body(stream, 200, { "Content-Type": "text/event-stream", "X-Accel-Buffering": "no" });
      } catch (error) {
        if (error instanceof OperationError) return answered(c, problem("input", mistakeText(error)));
        throw error;
      }
    }),
  );
  const headers = { Allow: "GET" };
  app.all(watchCalls.path, (c) => answered(c, problem("method-not-allowed", undefined, { headers })));
}

const RETRY = { headers: { "Retry-After": "5" } };
