import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, expect, it } from "vitest";
import type { SipMessage } from "../../src/sip/message.ts";
import { closeAll, Recorder, start } from "./harness.ts";

/* Overload: who was let in before the relay fell behind is known afterwards (decision 14). */

afterEach(closeAll);

const request = (method: string, callId: string, ...lines: string[]) =>
  [
    `${method} sip:wine@portal.com SIP/2.0`,
    `Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK${callId}${lines.length}`,
    "From: <sip:alice@portal.com>;tag=1",
    `To: <sip:wine@portal.com>${method === "BYE" ? ";tag=2" : ""}`,
    `Call-ID: ${callId}`,
    `CSeq: 1 ${method}`,
    ...lines,
    "Content-Length: 0",
    "",
    "",
  ].join("\r\n");

/** A real layer; `handles` hears of each message as it is handled. */
class Handling extends Recorder {
  handles: (name: string) => void = () => {};

  override received(message: SipMessage): void {
    this.handles(message.callId);
  }
}

it("an INVITE with credentials goes first whose challenge went out before the relay fell behind", async () => {
  const user = new Handling();
  const { tcpPort } = await start({ user });
  const socket = connect(tcpPort, "127.0.0.1");
  await once(socket, "connect");
  const handled: string[] = [];
  const challenged = new Promise<void>((resolve) => {
    user.handles = () => resolve();
  });
  socket.write(request("INVITE", "before"));
  await challenged;
  const all = new Promise<void>((resolve) => {
    user.handles = (name) => {
      handled.push(name);
      // As many as one turn brings; these come in the next one.
      if (name === "last")
        socket.write(
          request("INVITE", "new") + request("INVITE", "before", "Authorization: Digest x") + request("BYE", "bye"),
        );
      if (name === "new") resolve();
    };
  });
  const many = Array.from({ length: 40 }, () => request("BYE", "many"));
  socket.write(many.join("") + request("BYE", "last"));
  await all;
  socket.destroy();
  expect(handled.slice(-3)).toEqual(["bye", "before", "new"]);
});
