import { once } from "node:events";
import { type WebSocket, WebSocketServer } from "ws";
import type { AnyStateMachine } from "xstate";
import type { ChartActor, Inspector } from "../chart/actor.ts";

/*
 * Stately's inspector protocol over WebSocket (https://github.com/statelyai/inspect): one JSON text for each event. An
 * inspector that connects later first hears of the actors that run. Contexts and the payloads of events are left out:
 * they hold SIP messages, and with them what is private.
 */

const VERSION = "0.4.0";
const MOST_INSPECTORS = 8;
/** What may wait for an inspector that reads slowly; one that is further behind is disconnected. */
const MOST_BYTES = 8 * 2 ** 20;
/** Actors of which a new inspector is told. */
const MOST_ACTORS = 1_000;
/** Only pages of this machine, and of Stately, may connect (RFC 6455 §10.2): any other page could look on. */
const ORIGINS = /^(https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?|https:\/\/([a-z0-9-]+\.)*stately\.ai)$/;

export interface InspectServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Shows the actors of `inspectors` to whoever connects to this port of the machine. While nobody is connected nothing
 * is listened to. Rejects where the port is taken.
 */
export async function serveInspector(inspectors: Set<Inspector>, port: number): Promise<InspectServer> {
  const server = new WebSocketServer({
    host: "127.0.0.1",
    port,
    maxPayload: 65_536,
    verifyClient: ({ origin }: { origin?: string }) => origin === undefined || ORIGINS.test(origin),
  });
  await once(server, "listening");
  const open = new Set<WebSocket>();
  const actors = new Map<string, string>();
  const tell = (text: string) => {
    for (const socket of open) {
      if (socket.bufferedAmount > MOST_BYTES) socket.terminate();
      else socket.send(text);
    }
  };
  const inspector: Inspector = (event) => {
    const actor = event.actorRef as unknown as ChartActor<AnyStateMachine>;
    const id = actor.sessionId;
    if (!actors.has(id) && event.type !== "@xstate.actor") {
      const text = actorText(actor); // it began before anybody looked
      actors.set(id, text);
      tell(text);
    }
    if (event.type === "@xstate.actor") {
      const text = actorText(actor);
      actors.set(id, text);
      if (actors.size > MOST_ACTORS) actors.delete(actors.keys().next().value!);
      tell(text);
    } else if (event.type === "@xstate.event") tell(text(actor, { type: event.type, event: named(event.event) }));
    else if (event.type === "@xstate.snapshot") {
      tell(text(actor, { type: event.type, event: named(event.event), snapshot: snapshotOf(actor) }));
      if (actor.getSnapshot().status !== "active") actors.delete(id);
    }
  };
  server.on("connection", (socket) => {
    if (open.size >= MOST_INSPECTORS) {
      socket.close(1013);
      return;
    }
    open.add(socket);
    inspectors.add(inspector);
    for (const known of actors.values()) socket.send(known);
    socket.on("error", () => socket.terminate());
    socket.on("close", () => {
      open.delete(socket);
      if (open.size > 0) return;
      inspectors.delete(inspector);
      actors.clear();
    });
  });
  const { port: bound } = server.address() as { port: number };
  return {
    port: bound,
    close: async () => {
      inspectors.delete(inspector);
      for (const socket of open) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

let number = 0;

function text(actor: ChartActor<AnyStateMachine>, about: object): string {
  return JSON.stringify({
    ...about,
    id: String(++number),
    sessionId: actor.sessionId,
    rootId: actor.sessionId,
    createdAt: String(Date.now()),
    _version: VERSION,
  });
}

const actorText = (actor: ChartActor<AnyStateMachine>): string =>
  text(actor, {
    type: "@xstate.actor",
    name: actor.sessionId,
    snapshot: snapshotOf(actor),
    definition: JSON.stringify((actor.logic as unknown as { config: unknown }).config),
  });

function snapshotOf(actor: ChartActor<AnyStateMachine>): object {
  const { status, value } = actor.getSnapshot();
  return { status, value, context: {}, children: {} };
}

const named = ({ type }: { readonly type: string }): object => ({ type });
