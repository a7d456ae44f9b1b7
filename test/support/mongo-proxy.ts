import { connect, createServer, type Server, type Socket } from "node:net";
import { Binary, BSON, type Document, Long, Timestamp } from "mongodb";

/*
 * A proxy in front of a MongoDB server, for what a single server never does: it has sessions and a cluster's time, as a
 * replica set has, keeps what was asked, and answers in the server's place where a test wants it.
 */

/** A command as it was sent. */
export interface Asked {
  readonly name: string;
  /** Of most commands. */
  readonly collection: string;
  readonly command: Document;
  /** The cluster's time when it came. */
  readonly at: Timestamp;
  /** Up to which its answer was to be waited for; undefined: any answer will do. */
  readonly after: Timestamp | undefined;
}

/** An answer in the server's place; undefined: the server's own. It may take its time. */
export type Meddle = (asked: Asked) => Document | undefined | Promise<Document | undefined>;

const OP_REPLY = 1;
const OP_MSG = 2013;
const WRITES = new Set(["insert", "update", "delete", "findAndModify"]);
/** What the server behind knows nothing of. */
const OF_SESSIONS = ["lsid", "$clusterTime", "txnNumber", "startTransaction", "autocommit"];
const SIGNATURE = { hash: new Binary(Buffer.alloc(20)), keyId: Long.ZERO };

export class MongoProxy {
  readonly asked: Asked[] = [];
  meddle: Meddle = () => undefined;
  /** Closes each connection before it has said anything. */
  closeAtOnce = false;
  private readonly server: Server;
  private readonly upstream: number;
  private readonly sockets = new Set<Socket>();
  private time = 1;
  /** Whether it has sessions. */
  private readonly sessions: boolean;

  private constructor(upstream: number, sessions: boolean) {
    this.upstream = upstream;
    this.sessions = sessions;
    this.server = createServer((socket) => this.accept(socket));
  }

  /** In front of the server of this URL. */
  static async open(url: string, { sessions = true } = {}): Promise<MongoProxy> {
    const proxy = new MongoProxy(Number(new URL(url.replace("mongodb:", "http:")).port), sessions);
    await new Promise<void>((resolve) => proxy.server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  url(database: string): string {
    return `mongodb://127.0.0.1:${(this.server.address() as { port: number }).port}/${database}`;
  }

  get now(): Timestamp {
    return new Timestamp({ t: 1_700_000_000, i: this.time });
  }

  /** The commands with that name, or all. */
  named(...names: readonly string[]): Asked[] {
    return this.asked.filter(({ name }) => names.length === 0 || names.includes(name));
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(client: Socket): void {
    if (this.closeAtOnce) {
      client.destroy();
      return;
    }
    const server = connect(this.upstream, "127.0.0.1");
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => {
        this.sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    // One after the other, as a connection's own are.
    let turn: Promise<unknown> = Promise.resolve();
    cut(client, (message) => {
      turn = turn.then(() => this.request(message, client, server)).catch(() => client.destroy());
    });
    cut(server, (message) => client.write(this.replied(message)));
  }

  private async request(message: Buffer, client: Socket, server: Socket): Promise<void> {
    if (message.readInt32LE(12) !== OP_MSG) {
      server.write(message);
      return;
    }
    const size = message.readInt32LE(21);
    const command = BSON.deserialize(message.subarray(21, 21 + size), { promoteLongs: false });
    const [name = "", collection] = Object.entries(command)[0] ?? [];
    const plain = { ...command };
    for (let at = 21 + size; message[at] === 1; ) at = sequence(message, at, command);
    const after = command.readConcern?.afterClusterTime as Timestamp | undefined;
    if (WRITES.has(name)) this.time++;
    const asked: Asked = { name, collection: String(collection), command, at: this.now, after };
    this.asked.push(asked);
    const answer = await this.meddle(asked);
    if (client.destroyed) return;
    if (answer !== undefined) {
      client.write(this.message(message.readInt32LE(4), this.stamped(answer)));
      return;
    }
    for (const field of OF_SESSIONS) delete plain[field];
    if (after) plain.readConcern = { level: command.readConcern.level };
    server.write(withDocument(message, 21, size, plain));
  }

  private replied(message: Buffer): Buffer {
    const at = message.readInt32LE(12) === OP_REPLY ? 36 : 21;
    const size = message.readInt32LE(at);
    const reply = BSON.deserialize(message.subarray(at, at + size), { promoteLongs: false, promoteValues: false });
    return withDocument(message, at, size, this.stamped(reply));
  }

  private stamped(reply: Document): Document {
    if (!this.sessions) return reply;
    const isHello = "maxBsonObjectSize" in reply;
    const clusterTime = { clusterTime: this.now, signature: SIGNATURE };
    return {
      ...reply,
      ...(isHello && { logicalSessionTimeoutMinutes: 30 }),
      operationTime: this.now,
      $clusterTime: clusterTime,
    };
  }

  private message(responseTo: number, document: Document): Buffer {
    const head = Buffer.alloc(21);
    head.writeInt32LE(responseTo, 8);
    head.writeInt32LE(OP_MSG, 12);
    const body = BSON.serialize(document);
    head.writeInt32LE(head.length + body.length, 0);
    return Buffer.concat([head, body]);
  }
}

/**
 * A section of OP_MSG that has a list of documents: puts it into the command, and returns where the next section
 * begins.
 */
function sequence(message: Buffer, at: number, command: Document): number {
  const end = at + 1 + message.readInt32LE(at + 1);
  const nameEnd = message.indexOf(0, at + 5);
  const documents: Document[] = [];
  for (let n = nameEnd + 1; n < end; n += message.readInt32LE(n))
    documents.push(BSON.deserialize(message.subarray(n, n + message.readInt32LE(n))));
  command[message.toString("utf8", at + 5, nameEnd)] = documents;
  return end;
}

/** An answer to a query that finds nothing. */
export const nothing = (asked: Asked): Document => ({
  cursor: { id: Long.ZERO, ns: `${asked.command.$db}.${asked.collection}`, firstBatch: [] },
  ok: 1,
});

function withDocument(message: Buffer, at: number, size: number, document: Document): Buffer {
  const whole = Buffer.concat([message.subarray(0, at), BSON.serialize(document), message.subarray(at + size)]);
  whole.writeInt32LE(whole.length, 0);
  if (message.readInt32LE(12) === OP_MSG) whole.writeInt32LE(message.readInt32LE(16) & ~1, 16); // no checksum any more
  return whole;
}

/** Cuts a stream into messages by their lengths. */
function cut(socket: Socket, onMessage: (message: Buffer) => void): void {
  let rest = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= rest.readInt32LE(0)) {
      const length = rest.readInt32LE(0);
      onMessage(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  });
}
