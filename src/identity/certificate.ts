import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";

/*
 * Certificates for trying out (RFC 5280, ECDSA with P-256): node can read them and not make them. For a portal on the
 * internet they are of no use, since nobody else trusts their authority.
 */

export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Issued {
  /** A certificate that this authority signs, with a new key. */
  issue(certificate?: Wanted): Issued;
}

export interface Wanted {
  /**
   * Alternative names (RFC 5280 §4.2.1.6) such as `DNS:a.example`, `URI:sip:a.example`, `IP:127.0.0.1`; none: no such
   * extension.
   */
  readonly names?: readonly string[];
  readonly commonName?: string;
  /** Of a provider of telephone numbers: its code (TNAuthList, RFC 8226 §9). */
  readonly spc?: string;
  readonly from?: Date;
  readonly to?: Date;
}

const DAY_MS = 86_400_000;

/** An authority, whose certificate is for `ca`. */
export function authority(name = "Test Authority"): Authority {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = pem(keys.privateKey);
  const cert = certificate({ commonName: name }, name, keys.publicKey, keys.privateKey, true);
  return {
    cert,
    key,
    issue(wanted = {}) {
      const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
      return { cert: certificate(wanted, name, own.publicKey, createPrivateKey(key), false), key: pem(own.privateKey) };
    },
  };
}

const pem = (key: KeyObject): string => key.export({ type: "pkcs8", format: "pem" }).toString();

function certificate(wanted: Wanted, issuer: string, key: KeyObject, signer: KeyObject, isCa: boolean): string {
  const { names = [], commonName = "test", spc, from = new Date(Date.now() - DAY_MS), to } = wanted;
  const until = to ?? new Date(Date.now() + 90 * DAY_MS);
  const spki = key.export({ type: "spki", format: "der" });
  const extensions = [
    ...(isCa ? [extension("2.5.29.19", sequence(Buffer.from([1, 1, 0xff])), true)] : []),
    extension("2.5.29.14", der(0x04, createHash("sha1").update(spki).digest())),
    ...(spc === undefined ? [] : [extension("1.3.6.1.5.5.7.1.26", sequence(der(0xa0, der(0x16, Buffer.from(spc)))))]),
    ...(names.length > 0 ? [extension("2.5.29.17", sequence(...names.map(alternative)))] : []),
  ];
  const signed = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_SHA256,
    distinguished(issuer),
    sequence(time(from), time(until)),
    distinguished(commonName),
    spki,
    der(0xa3, sequence(...extensions)),
  );
  const signature = Buffer.concat([Buffer.from([0]), sign("sha256", signed, signer)]);
  const whole = sequence(signed, ECDSA_SHA256, der(0x03, signature)).toString("base64");
  return `-----BEGIN CERTIFICATE-----\n${whole.match(/.{1,64}/g)?.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 128) return Buffer.concat([Buffer.from([tag, length]), content]);
  if (length < 256) return Buffer.concat([Buffer.from([tag, 0x81, length]), content]);
  return Buffer.concat([Buffer.from([tag, 0x82, length >> 8, length & 0xff]), content]);
}

const sequence = (...parts: Buffer[]): Buffer => der(0x30, Buffer.concat(parts));

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [40 * first + second];
  for (const number of rest) {
    const digits = [number & 0x7f];
    for (let left = number >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return der(0x06, Buffer.from(bytes));
}

const ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));

const distinguished = (name: string): Buffer =>
  sequence(der(0x31, sequence(oid("2.5.4.3"), der(0x0c, Buffer.from(name)))));

const time = (date: Date): Buffer => der(0x18, Buffer.from(`${date.toISOString().replace(/[-:T]|\.\d+Z$/g, "")}Z`));

const extension = (id: string, value: Buffer, critical = false): Buffer =>
  sequence(oid(id), ...(critical ? [Buffer.from([1, 1, 0xff])] : []), der(0x04, value));

/** RFC 5280 §4.2.1.6. */
function alternative(name: string): Buffer {
  const [, type, value = ""] = /^(DNS|URI|IP):(.*)$/.exec(name) ?? [];
  if (type === "IP") return der(0x87, addressBytes(value));
  return der(type === "URI" ? 0x86 : 0x82, Buffer.from(value));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split(".").map(Number));
  const [head = "", tail = ""] = address.split("::");
  const groups = (text: string) => text.split(":").filter((group) => group !== "");
  const missing = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...new Array<string>(missing).fill("0"), ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}
