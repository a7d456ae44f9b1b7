import { answerChallenge, formatAuthorization, parseChallenge } from "../../src/sip/digest.ts";
import type { SipMessage, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { Peer } from "../relay/harness.ts";
import { DOMAIN, PASSWORD, USER } from "./portal.ts";

const PATIENCE_MS = 5_000;

/**
 * A client or an app server on a real socket, moved by hand. What comes again is dropped: on loopback it says nothing
 * but that a test is slow.
 */
export class LivePeer extends Peer {
  /** Sees each message first; true: it is dealt with. */
  onMessage: (message: SipMessage) => boolean = () => false;
  private readonly seen = new Set<string>();
  private readonly waiting = new Set<() => void>();

  /** The first message that is this request, or has this status, once it is there; others wait for their turn. */
  next(what: string | number): Promise<SipMessage> {
    return new Promise((resolve, reject) => {
      const finish = () => {
        this.waiting.delete(look);
        clearTimeout(timer);
      };
      const look = () => {
        const at = this.inbox.findIndex((message) => (message.isRequest ? message.method : message.status) === what);
        if (at < 0) return;
        finish();
        resolve(this.inbox.splice(at, 1)[0]!);
      };
      const timer = setTimeout(() => {
        finish();
        const there = this.inbox.map(nameOf).join(", ") || "nothing";
        reject(new Error(`expected ${what} in ${PATIENCE_MS} ms, there was ${there}`));
      }, PATIENCE_MS);
      this.waiting.add(look);
      look();
    });
  }

  async nextRequest(method: string): Promise<SipRequest> {
    return (await this.next(method)) as SipRequest;
  }

  async nextResponse(status: number): Promise<SipResponse> {
    return (await this.next(status)) as SipResponse;
  }

  /** From now on what comes again is not dropped. */
  forget(): void {
    this.seen.clear();
  }

  /** Asks for a service as alice: INVITE, 401, ACK and the INVITE with the credentials, which is returned. */
  async call(service: string, options: Parameters<Peer["invite"]>[0] = {}): Promise<SipRequest> {
    const own = { uri: `sip:${service}@${DOMAIN}`, from: `<sip:${USER}@${DOMAIN}>`, ...options };
    const first = this.invite(own);
    const challenge = await this.nextResponse(401);
    this.ack(first, challenge);
    return this.invite({
      ...own,
      headers: [...(own.headers ?? []), ["Authorization", credentials(challenge, own.uri)]],
    });
  }

  /** One whole message. */
  received(bytes: Buffer): void {
    this.flow.send(bytes); // read, and into the inbox
    const message = this.inbox.pop();
    if (!message) return;
    const key = `${nameOf(message)} ${message.via?.params.get("branch")} ${message.headers.get("cseq")} ${message.toTag}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    if (this.onMessage(message)) return;
    this.inbox.push(message);
    for (const look of [...this.waiting]) look();
  }
}

const nameOf = (message: SipMessage): string => (message.isRequest ? message.method : String(message.status));

/** Alice's answer to a challenge of the relay, for an INVITE. */
export function credentials(challenge: SipResponse, uri: string): string {
  const read = parseChallenge(challenge.headers.get("www-authenticate") ?? "");
  if (!read.ok) throw new Error(`the relay's challenge cannot be read: ${read.error}`);
  const answer = { username: USER, password: PASSWORD, method: "INVITE", uri, cnonce: "c", count: 1 };
  return formatAuthorization(answerChallenge(read.value, answer));
}

/** Two peers in a session, and what its messages to come are made of. */
export interface Call {
  readonly client: LivePeer;
  readonly server: LivePeer;
  readonly invite: SipRequest;
  readonly answer: SipResponse;
  readonly inviteAtServer: SipRequest;
  readonly answerOfServer: SipResponse;
}

/** Plays a call until it is established. */
export async function establish(
  client: LivePeer,
  server: LivePeer,
  service: string,
  options: Parameters<Peer["invite"]>[0] = {},
): Promise<Call> {
  const invite = await client.call(service, { body: "v=0", ...options });
  const inviteAtServer = await server.nextRequest("INVITE");
  const answerOfServer = server.answer(inviteAtServer, 200, { body: "v=1" });
  const answer = await client.nextResponse(200);
  client.ack(invite, answer);
  await server.nextRequest("ACK");
  return { client, server, invite, answer, inviteAtServer, answerOfServer };
}
