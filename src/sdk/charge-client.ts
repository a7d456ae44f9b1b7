import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import type { ChargeInput } from "./app-api.ts";
import { complete } from "./app-session.ts";

/** Where the relay's HTTP API is, and who charges. */
export interface ChargeClientOptions {
  /** The relay's HTTP API: `https://portal.example:8443`. With `http:`, the secret goes over the wire unencrypted. */
  readonly url: string;
  /** Id of a key from `tollgate appserver key add`. */
  readonly key: string;
  /** The secret that was shown with it. */
  readonly secret: string;
  /** Certificates to trust, as PEM, in place of those that Node.js brings. */
  readonly ca?: string | Buffer;
  /** How long an answer may take, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
}

/** Charges users by HTTPS, during a session or after its end. For app servers that prefer HTTPS to SIP. */
export interface ChargeClient {
  /**
   * Charges the user of a session, which `session` names by its `tollgateSession`. All charges are made, or none.
   * Resolves with the charges' ids when they are on disk. Rejects with a `ChargeError` where the relay refuses. Any
   * other error means that it is not known whether they were made: the same charges with the same ids may then be sent
   * again. With an `idempotencyKey` of up to 512 characters, the relay answers a repetition as it did before.
   */
  charge(
    session: string,
    charges: readonly ChargeInput[],
    options?: { readonly idempotencyKey?: string },
  ): Promise<string[]>;
}

/** The relay's refusal (RFC 9457): nothing was charged. */
export class ChargeError extends Error {
  override readonly name = "ChargeError";
  /** Status of the HTTP answer, 400 to 599. */
  readonly status: number;
  /** The last part of the problem's type: `closed`, `terms` and others. */
  readonly kind: string;
  /** Seconds after which the same request may be sent again. */
  readonly retryAfterS: number | undefined;

  constructor(status: number, kind: string, text: string, retryAfterS: number | undefined) {
    super(`${status} ${text}`);
    this.status = status;
    this.kind = kind;
    this.retryAfterS = retryAfterS;
  }
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 262_144;

/** Makes a client that charges by HTTPS with one key. It sends nothing before `charge` is called. */
export function createChargeClient(options: ChargeClientOptions): ChargeClient {
  return {
    async charge(session, inputs, { idempotencyKey } = {}) {
      const charges = inputs.map(complete);
      const body = JSON.stringify({ session, charges });
      const { status, retryAfter, text } = await post(options, body, idempotencyKey);
      if (status === 200) return charges.map(({ id }) => id);
      const said = problemIn(text);
      const kind = said.type?.split(":").at(-1) ?? "unknown";
      const why = said.detail ?? said.title ?? "the relay refused";
      throw new ChargeError(status, kind, why, retryAfter === undefined ? undefined : Number(retryAfter));
    },
  };
}

function post(
  options: ChargeClientOptions,
  body: string,
  idempotencyKey: string | undefined,
): Promise<{ status: number; retryAfter: string | undefined; text: string }> {
  const { key, secret, ca, timeoutMs = TIMEOUT_MS } = options;
  const url = new URL("/v1/charges", options.url);
  const headers = {
    authorization: `Bearer ${key}.${secret}`,
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    ...(idempotencyKey !== undefined && { "idempotency-key": idempotencyKey }),
  };
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const given = { method: "POST", headers, signal };
    const outgoing =
      url.protocol === "https:" ? tlsRequest(url, { ...given, ...(ca && { ca }) }) : plainRequest(url, given);
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > MAX_ANSWER_BYTES) outgoing.destroy(new Error("the answer is too long"));
      });
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers["retry-after"], text }),
      );
    });
    outgoing.end(body);
  });
}

function problemIn(text: string): { type?: string; title?: string; detail?: string } {
  try {
    const said: unknown = JSON.parse(text);
    return typeof said === "object" && said !== null ? said : {};
  } catch {
    return {};
  }
}
