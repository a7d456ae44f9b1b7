import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { BSON, type Document, type MongoClient } from "mongodb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../src/store/mongo-connect.ts";

/** The driver's own sockets, as they are made. */
const sockets: Socket[] = [];
const made = (message: unknown) => void sockets.push((message as { socket: Socket }).socket);

let server: Server;
let client: MongoClient;
/** The server's ends of the connections on which a `find` was answered, or an `insert` was begun. */
const used: Socket[] = [];

beforeEach(async () => {
  subscribe("net.client.socket", made);
  server = createServer(serve).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
});
afterEach(async () => {
  unsubscribe("net.client.socket", made);
  await client.close();
  for (const socket of [...sockets.splice(0), ...used.splice(0)]) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

async function start(timeoutS: number): Promise<void> {
  const { port } = server.address() as AddressInfo;
  ({ client } = await connect({ url: `mongodb://127.0.0.1:${port}/x`, timeoutS }));
}

const things = () => client.db("x").collection("things");

describe("a command whose connection closes while it is written (decision 8)", () => {
  it("does not wait for ever where the server went away just before", async () => {
    await start(2);
    await things().findOne({});
    const found = new Promise((resolve) => {
      const find = () => resolve(things().findOne({}));
      for (const socket of sockets) socket.once("end", () => whenDestroyed(socket, find));
    });
    used[0]!.end();
    expect(await settled(found)).toMatchObject({ _id: 1 }); // reads are tried again, over a new connection
  });

  it("does not wait for ever where the server reads no more: not for longer than a socket may be silent", async () => {
    await start(0.25);
    const long = "x".repeat(2 ** 20);
    const insert = things().insertMany(Array.from({ length: 12 }, () => ({ long })));
    expect(await settled(insert.catch((error: Error) => error))).toMatchObject({ name: /^MongoNetwork/ });
  });
});

const NEVER = "not settled after 5 s";
const settled = (promise: Promise<unknown>): Promise<unknown> =>
  Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 5_000, NEVER))]);

/** Between a socket's destruction and its `close`: where `setImmediate` runs. */
function whenDestroyed(socket: Socket, act: () => void): void {
  setImmediate(() => (socket.destroyed ? act() : whenDestroyed(socket, act)));
}

const HELLO = {
  ok: 1,
  isWritablePrimary: true,
  helloOk: true,
  maxBsonObjectSize: 2 ** 24,
  maxMessageSizeBytes: 48_000_000,
  maxWriteBatchSize: 100_000,
  minWireVersion: 0,
  maxWireVersion: 21,
};
const OP_QUERY = 2004;
const FOUND = { ok: 1, cursor: { id: BSON.Long.ZERO, ns: "x.things", firstBatch: [{ _id: 1 }] } };

/** A server of MongoDB's protocol that knows `hello` and finds one thing, and reads no more once somebody inserts. */
function serve(socket: Socket): void {
  let unread = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (data) => {
    unread = Buffer.concat([unread, data]);
    if (unread.includes("insert\0")) {
      used.push(socket);
      return void socket.pause();
    }
    while (unread.length >= 4 && unread.length >= unread.readInt32LE(0)) {
      const message = unread.subarray(0, unread.readInt32LE(0));
      unread = unread.subarray(message.length);
      const [id, code] = [message.readInt32LE(4), message.readInt32LE(12)];
      if (message.includes("find\0")) used.push(socket);
      if (code === OP_QUERY) socket.write(opReply(id, { ...HELLO, ismaster: true }));
      else if (message.includes("hello\0")) socket.write(opMsg(id, HELLO));
      else socket.write(opMsg(id, message.includes("find\0") ? FOUND : { ok: 1 }));
    }
  });
}

const opMsg = (to: number, document: Document) => answer(to, 2013, 5, document);

function opReply(to: number, document: Document): Buffer {
  const message = answer(to, 1, 20, document);
  message.writeInt32LE(1, 32); // how many documents
  return message;
}

/**
 * https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/: a header of 16 octets, `gap` octets of zero, a
 * document.
 */
function answer(to: number, code: number, gap: number, document: Document): Buffer {
  const message = Buffer.concat([Buffer.alloc(16 + gap), BSON.serialize(document)]);
  message.writeInt32LE(message.length, 0);
  message.writeInt32LE(to, 8);
  message.writeInt32LE(code, 12);
  return message;
}
