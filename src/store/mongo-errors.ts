import {
  MongoBulkWriteError,
  MongoCompatibilityError,
  MongoError,
  MongoNetworkError,
  MongoNetworkTimeoutError,
  MongoServerSelectionError,
  type TopologyDescription,
} from "mongodb";
import { optionsOf } from "./mongo-url.ts";
import type { MongoSettings } from "./settings.ts";

/** What went wrong with MongoDB, for its operator: what it means and what to do. */
export class StoreError extends Error {}

/** Host and port only: the rest of the URL may hold a password. */
export function hostsOf(url: string): string {
  return url.replace(/^[^/]+:\/\/(?:[^/?]*@)?/, "").replace(/[/?].*$/s, "");
}

/** Codes of a server that is not the primary, or not any more. */
const NOT_PRIMARY: ReadonlySet<unknown> = new Set([10058, 10107, 11600, 11602, 13435, 13436, 189]);
const UNAUTHORIZED = 13;
const AUTHENTICATION_FAILED: ReadonlySet<unknown> = new Set([11, 18, 8000]);
const MECHANISM_UNAVAILABLE = 334;
const NO_MAJORITY_READS = 148;
/** Codes of writes that too few servers have confirmed in time, or can confirm. */
const NOT_CONFIRMED: ReadonlySet<unknown> = new Set([64, 79, 100]);
const NO_DISK: ReadonlySet<unknown> = new Set([14031, 28]);

/** An error, and what only its causes tell: if no server could be selected, the reason for each server. */
interface Fault {
  readonly error: MongoError;
  readonly code: unknown;
  /** All messages, to be searched. */
  readonly texts: string;
  readonly settings: MongoSettings;
  readonly topology: TopologyDescription | undefined;
}

/** The text that follows the server's name: what the error means and what to do. Undefined: it is another error. */
type Reading = (fault: Fault) => string | undefined;

const READINGS: readonly Reading[] = [
  ({ error, texts }) =>
    error instanceof MongoCompatibilityError || /wire version/.test(texts)
      ? "is too old, MongoDB 4.4 or later is needed"
      : undefined,
  ({ code, texts, settings }) =>
    AUTHENTICATION_FAILED.has(code) || /Authentication failed|bad auth/i.test(texts)
      ? `does not accept the user${userOf(settings)} or the password. ` +
        "Check store.user and the password; the database in which the user was made goes into the URL as authSource"
      : undefined,
  ({ code, texts, settings }) =>
    code === MECHANISM_UNAVAILABLE ||
    /unsupported[^\n]*mechanism|mechanism[^\n]* not (enabled|supported|available)/i.test(texts)
      ? `does not let the user${userOf(settings)} sign in this way. Make the user anew with a password (SCRAM), or name in the URL as authMechanism what the server has`
      : undefined,
  ({ code, texts }) =>
    code === UNAUTHORIZED && /requires? authentication|not authenticated|no users authenticated/i.test(texts)
      ? "wants a sign-in. Set store.user, and its password in store.passwordFile or TOLLGATE_MONGODB_PASSWORD"
      : undefined,
  ({ code }) =>
    code === UNAUTHORIZED
      ? ': a permission is missing. Give the user the role readWrite on the database: db.grantRolesToUser("USER", ["readWrite"])'
      : undefined,
  notTls,
  tlsFails,
  ({ texts, settings, topology }) => {
    const name = optionsOf(settings.url).get("replicaset")?.value;
    if (name === undefined || !topology) return undefined;
    const isOther = topology.servers.size === 0 || /set name|replica set name|setName/i.test(texts);
    return isOther
      ? `is no member of the replica set ${name}. Write in the URL what rs.status().set says as replicaSet, or leave it away for a single server`
      : undefined;
  },
  ({ code, topology }) => {
    if (NOT_PRIMARY.has(code))
      return "is not the primary. Name all members of the replica set in the URL, with replicaSet=NAME and without directConnection";
    const hasMembers = topology?.type === "ReplicaSetNoPrimary" && [...topology.servers.values()].some(isMember);
    return hasMembers
      ? "has no primary. An election takes some seconds (store.timeoutS should be longer); else most members are away: see rs.status()"
      : undefined;
  },
  ({ code }) =>
    code === NO_MAJORITY_READS
      ? "has reads of the majority switched off. Start it with enableMajorityReadConcern"
      : undefined,
  ({ code }) =>
    NOT_CONFIRMED.has(code)
      ? "has too few members that confirm writes. Most members of the replica set must be up: see rs.status()"
      : undefined,
  ({ code, texts }) =>
    NO_DISK.has(code) || /no space left|out of disk/i.test(texts) ? "has no room on its disk" : undefined,
  ({ texts, error }) =>
    isUnreachable(error) && /ENOTFOUND|EAI_AGAIN|ENODATA|querySrv|queryTxt/.test(texts)
      ? "cannot be found. Is the name in store.url right, and does this machine's DNS know it?"
      : undefined,
  ({ error, topology }) =>
    error instanceof MongoNetworkTimeoutError && !topology
      ? "does not answer in time. It is overloaded, or store.timeoutS is too short"
      : undefined,
  ({ error }) => (isUnreachable(error) ? "cannot be reached. Is it running, and is store.url right?" : undefined),
];

/** The server does not speak TLS though it is expected, or the other way round. */
function notTls({ texts, settings, error }: Fault): string | undefined {
  const withTls = usesTls(settings);
  if (withTls && /wrong version number|packet length too long|record layer|before secure TLS connection/i.test(texts))
    return "does not speak TLS there. Remove store.tls (or tls=true from the URL), or configure net.tls of the server";
  const closes = isUnreachable(error) && /connection .*closed|ECONNRESET|socket hang up/i.test(texts);
  if (!withTls && closes && !/timed out after \d+ms.*ECONNREFUSED/i.test(texts))
    return "closes every connection. If it wants TLS, set store.tls (or tls=true in the URL)";
  return undefined;
}

function tlsFails({ texts, settings }: Fault): string | undefined {
  if (!usesTls(settings)) return undefined;
  if (/certificate required|bad certificate|handshake failure|alert (number )?(40|42|116)/i.test(texts))
    return "refuses the TLS handshake. If it wants to see a certificate, name it in store.tls.cert and store.tls.key";
  return /certificate|self.signed|altnames|SSL|TLS|EPROTO/i.test(texts)
    ? ": TLS failed. Check store.tls: ca must have signed the server's certificate, and the name in store.url must stand in it"
    : undefined;
}

function usesTls({ url, tls }: MongoSettings): boolean {
  const options = optionsOf(url);
  const said = options.get("tls") ?? options.get("ssl");
  return tls !== undefined || (said === undefined ? url.startsWith("mongodb+srv:") : said.value !== "false");
}

const userOf = ({ user }: MongoSettings): string => (user === undefined ? "" : ` ${user}`);
const isMember = ({ type }: { readonly type: string }): boolean => /^RS(Secondary|Arbiter|Other|Ghost)$/.test(type);
const isUnreachable = (error: unknown): boolean =>
  error instanceof MongoServerSelectionError || error instanceof MongoNetworkError;

/** The error in words for an operator. An error that is not known here comes back as it is. */
export function explained(error: unknown, settings: MongoSettings): unknown {
  if (!(error instanceof MongoError) || error instanceof MongoBulkWriteError) return error;
  const reason = error instanceof MongoServerSelectionError ? error.reason : undefined;
  const topology = reason && "servers" in reason ? (reason as TopologyDescription) : undefined;
  const causes = topology ? [...topology.servers.values()].map((server) => server.error) : [];
  const first = causes.find((cause) => cause instanceof MongoError && cause.code !== undefined) as
    | MongoError
    | undefined;
  const texts = [error, ...causes].flatMap(messagesOf).join("\n");
  const fault: Fault = { error, code: error.code ?? first?.code, texts, settings, topology };
  for (const reading of READINGS) {
    const text = reading(fault);
    if (text !== undefined) return said(text, fault);
  }
  return error;
}

/** The error for the operator: what it means, then the server's own words, then what to do. */
function said(text: string, { error, settings }: Fault): StoreError {
  const [, meaning, advice] = /^(.*?)(?:\. (.*))?$/s.exec(text)!;
  const where = `MongoDB at ${hostsOf(settings.url)}${meaning!.startsWith(":") ? "" : " "}`;
  const words = messagesOf(error)[0];
  return new StoreError(`${where}${meaning}: ${words}${advice === undefined ? "" : `. ${advice}`}`, { cause: error });
}

function messagesOf(error: unknown): string[] {
  const { message, cause } = (error ?? {}) as { readonly message?: string; readonly cause?: unknown };
  return [...(message === undefined ? [] : [message]), ...(cause ? messagesOf(cause) : [])];
}
