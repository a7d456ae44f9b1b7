import { z } from "zod";

/*
 * `bus:` of the configuration: `embedded`, one URL, or a section with servers, sign-in and the wishes for the stream.
 */

const SERVER = /^(nats|tls):\/\/([^\s/@]+@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?\/?$/;
const EXPECTED = "embedded, or the URL of a NATS server such as nats://127.0.0.1:4222 or tls://nats.example:4222";

const server = z.string().regex(SERVER, "the URL of a NATS server such as nats://127.0.0.1:4222 or tls://nats.example");
const name = (what: string) =>
  z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, `${what}: letters, digits, _ and - (at most 64)`);
const file = z.string().min(1);

const natsObject = z
  .strictObject({
    servers: z.preprocess(
      (value) => (typeof value === "string" ? [value] : value),
      z.array(server).min(1, "at least one server"),
    ),
    user: z.string().min(1).exactOptional(),
    password: z.string().min(1).exactOptional(),
    passwordFile: file.exactOptional(),
    token: z.string().min(1).exactOptional(),
    tokenFile: file.exactOptional(),
    credentialsFile: file.exactOptional(),
    nkeyFile: file.exactOptional(),
    tls: z
      .strictObject({ ca: file.exactOptional(), cert: file.exactOptional(), key: file.exactOptional() })
      .refine(({ cert, key }) => (cert === undefined) === (key === undefined), "cert and key together, or neither")
      .exactOptional(),
    secretFile: file.exactOptional(),
    acceptSecretFile: file.exactOptional(),
    stream: name("a stream's name").default("TOLLGATE"),
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/, "the first part of a NATS subject, such as tollgate")
      .max(64)
      .default("tollgate"),
    source: z
      .string()
      .regex(/^[^\s<>"]{1,200}$/, "a URI that says which node events come from")
      .exactOptional(),
    replicas: z.int().min(1).max(5).exactOptional(),
    maxBytes: z.int().min(1_048_576).exactOptional(),
    maxAgeS: z.number().min(3_600).max(1_000_000_000).default(2_592_000),
    duplicateWindowS: z.number().min(1).max(86_400).default(120),
  })
  .refine(
    ({ password, passwordFile, token, tokenFile, credentialsFile, nkeyFile }) =>
      [password ?? passwordFile, token ?? tokenFile, credentialsFile, nkeyFile].filter((one) => one !== undefined)
        .length <= 1,
    "one way to sign in: password, token, credentialsFile or nkeyFile",
  );

/** `bus` as it was written; undefined: embedded. Text is `embedded` or one server. */
export const busSchema = z.preprocess((value, context) => {
  if (value === "embedded" || value === undefined) return undefined;
  if (typeof value === "object" && value !== null) return value;
  if (typeof value === "string" && SERVER.test(value)) return { servers: [value] };
  context.addIssue({ code: "custom", message: EXPECTED });
  return z.NEVER;
}, natsObject.optional());

export type NatsSettings = z.output<typeof natsObject>;
