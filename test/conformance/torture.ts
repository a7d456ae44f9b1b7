import { readFileSync } from "node:fs";

/** One torture message with what its RFC says of it; `fields` in torture/index.json explains each. */
export interface TortureMessage {
  readonly name: string;
  readonly rfc: 4475 | 5118;
  readonly section: string;
  readonly title: string;
  readonly kind: "request" | "response";
  /** Requests only. */
  readonly method?: string;
  /** False where the file ends before the empty line that ends the head. */
  readonly terminated: boolean;
  readonly expected: {
    readonly parser: "accept" | "reject" | "either";
    /**
     * By role: status codes, or what else is done (`forward`, `process`, `discard`). Empty where the RFC names none.
     */
    readonly responses: Readonly<Record<string, readonly (number | string)[]>>;
  };
  readonly topVia: {
    readonly transport: string;
    readonly host: string;
    readonly port: number | null;
    readonly rport: boolean;
    /** Where an answer over UDP goes (RFC 3261 §18.2.2). */
    readonly responsePort: number;
    readonly branch: string | null;
  };
  readonly viaCount: number;
  readonly toTag: boolean;
  readonly contentLength: readonly string[];
  readonly bodyBytes: number | null;
  /** Names of messages that a stateful server takes for retransmissions of this one. */
  readonly collidesWith?: readonly string[];
  /** Of the bytes, in hex. */
  readonly sha256: string;
  /** The message as it goes over the wire. */
  readonly bytes: Buffer;
}

type Entry = Omit<TortureMessage, "bytes"> & { readonly file: string };

/** The 49 messages of RFC 4475, baddn a second time with the end that its file lacks, and the 12 of RFC 5118. */
export function loadTorture(): TortureMessage[] {
  const folder = new URL("./torture/", import.meta.url);
  const { messages } = JSON.parse(readFileSync(new URL("index.json", folder), "utf8")) as { messages: Entry[] };
  return messages.map(({ file, ...entry }) => ({ ...entry, bytes: readFileSync(new URL(file, folder)) }));
}
