import { z } from "zod";
import { weaknesses } from "./mongo-url.ts";

/*
 * `store:` of the configuration: embedded, a URL of MongoDB, or a section with the URL and how to sign in.
 */

const URL = /^mongodb(\+srv)?:\/\/\S+$/;
const EXPECTED = "embedded, or a URL such as mongodb://127.0.0.1:27017/tollgate";
const file = z.string().min(1);

/**
 * An operation on a server that is away or silent is given up after so long. An election takes some 12 s by MongoDB's
 * defaults, so an operation that begins during one can still be done after it.
 */
export const TIMEOUT_S = 15;

const mongoObject = z
  .strictObject({
    url: z.string().regex(URL, "a URL such as mongodb://127.0.0.1:27017/tollgate"),
    user: z.string().min(1).exactOptional(),
    passwordFile: file.exactOptional(),
    tls: z
      .strictObject({ ca: file.exactOptional(), cert: file.exactOptional(), key: file.exactOptional() })
      .refine(({ cert, key }) => (cert === undefined) === (key === undefined), "cert and key together, or neither")
      .exactOptional(),
    timeoutS: z.number().min(0.1).max(60).default(TIMEOUT_S),
    maxClockDifferenceS: z.number().min(1).max(86_400).exactOptional(),
  })
  .refine(({ user, passwordFile }) => user !== undefined || passwordFile === undefined, {
    path: ["passwordFile"],
    message: "user beside it",
  })
  .superRefine(({ url, tls }, context) => {
    for (const message of weaknesses(url, tls !== undefined))
      context.addIssue({ code: "custom", path: ["url"], message: `a URL ${message}` });
  });

/** `store` as it was written; undefined: embedded. */
export const storeSchema = z.preprocess((value, context) => {
  if (value === "embedded" || value === undefined) return undefined;
  if (typeof value === "object" && value !== null) return value;
  if (typeof value === "string" && URL.test(value)) {
    const found = weaknesses(value);
    for (const message of found) context.addIssue({ code: "custom", message: `a URL ${message}` });
    return found.length === 0 ? { url: value } : z.NEVER;
  }
  context.addIssue({ code: "custom", message: EXPECTED });
  return z.NEVER;
}, mongoObject.optional());

/** How to reach MongoDB, with the defaults filled in. Without a database in the URL it is `tollgate`. */
export type MongoSettings = z.output<typeof mongoObject>;

/** The part of the configuration that says where the store is. */
export interface StoreConfig {
  /** Folder of the embedded store. */
  readonly data: string;
  /** Undefined: embedded. */
  readonly store?: MongoSettings | undefined;
}
