import { createSocket } from "node:dgram";
import { once } from "node:events";

/** A name server on loopback that answers from a zone, in the usual text form: NAPTR, SRV and A. */
export async function startDnsServer(zone: string): Promise<{ readonly server: string; close(): void }> {
  const records = zone
    .split("\n")
    .map((line) => line.match(/"[^"]*"|\S+/g) ?? [])
    .filter((fields) => fields[2] === "IN")
    .map(([name = "", , , type = "", ...data]) => ({ name, type, data }));
  const socket = createSocket("udp4");
  socket.on("message", (question, { address, port }) => {
    const { name, type, end } = asked(question);
    const found = records.filter((one) => one.name === name && TYPES[one.type] === type);
    const head = Buffer.from(question.subarray(0, 12));
    head.writeUInt16BE(0x8580, 2); // an answer, with authority
    head.writeUInt16BE(found.length, 6);
    head.fill(0, 8);
    const answers = found.map((one) => {
      const data = dataOf(one);
      const fixed = Buffer.alloc(12);
      fixed.writeUInt16BE(0xc00c, 0); // the name that was asked for
      fixed.writeUInt16BE(type, 2);
      fixed.writeUInt16BE(1, 4);
      fixed.writeUInt32BE(60, 6);
      fixed.writeUInt16BE(data.length, 10);
      return Buffer.concat([fixed, data]);
    });
    socket.send(Buffer.concat([head, question.subarray(12, end), ...answers]), port, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return { server: `127.0.0.1:${socket.address().port}`, close: () => void socket.close() };
}

const TYPES: Readonly<Record<string, number>> = { A: 1, SRV: 33, NAPTR: 35 };

function asked(question: Buffer) {
  const labels: string[] = [];
  let at = 12;
  for (let length = question[at]!; length > 0; length = question[at]!) {
    labels.push(question.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: `${labels.join(".").toLowerCase()}.`, type: question.readUInt16BE(at + 1), end: at + 5 };
}

function dataOf({ type, data }: { readonly type: string; readonly data: readonly string[] }): Buffer {
  if (type === "A") return Buffer.from(data[0]!.split(".").map(Number));
  const numbers = Buffer.alloc(type === "SRV" ? 6 : 4);
  for (let at = 0; at < numbers.length; at += 2) numbers.writeUInt16BE(Number(data[at / 2]), at);
  const texts = data.slice(numbers.length / 2, -1).map((text) => counted(text.slice(1, -1)));
  const labels = data.at(-1)!.split(".").map(counted); // the last one is empty: the root
  return Buffer.concat([numbers, ...texts, ...labels]);
}

const counted = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text, "latin1")]);
