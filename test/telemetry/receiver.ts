import { TestEndpoint } from "../usage/endpoints.ts";

/*
 * An OTLP/HTTP receiver that checks JSON as opentelemetry-proto has it (OTLP 1.x, "JSON Protobuf Encoding"):
 * lowerCamelCase names, ids in hexadecimal, 64 bit numbers as text.
 */

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, string>> }[];
  readonly status?: { readonly code: number; readonly message?: string };
}

interface Body {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: ReceivedSpan["attributes"] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string };
      readonly spans: readonly ReceivedSpan[];
    }[];
  }[];
}

const SPAN_FIELDS = new Set([
  ...["traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano"],
  ...["attributes", "status"],
]);

const attributesProblem = (attributes: ReceivedSpan["attributes"]): string | undefined => {
  const keys = new Set<string>();
  for (const { key, value } of attributes) {
    if (!/^[a-z][a-z0-9_.]*$/.test(key) || keys.has(key)) return `attribute ${key}`;
    keys.add(key);
    const [[kind, held] = ["", ""], ...more] = Object.entries(value);
    const isRight = kind === "stringValue" ? typeof held === "string" : kind === "intValue" && /^-?\d+$/.test(held);
    if (!isRight || more.length > 0) return `value of ${key}`;
  }
  return undefined;
};

function problem(span: ReceivedSpan): string | undefined {
  for (const name of Object.keys(span)) if (!SPAN_FIELDS.has(name)) return `field ${name}`;
  if (!/^[0-9a-f]{32}$/.test(span.traceId) || /^0+$/.test(span.traceId)) return "traceId";
  if (!/^[0-9a-f]{16}$/.test(span.spanId)) return "spanId";
  if (span.parentSpanId !== undefined && !/^[0-9a-f]{16}$/.test(span.parentSpanId)) return "parentSpanId";
  if (![1, 2, 3].includes(span.kind) || span.name === "") return "kind or name";
  const [start, end] = [span.startTimeUnixNano, span.endTimeUnixNano];
  if (!/^\d{19}$/.test(start) || !/^\d{19}$/.test(end) || end < start) return "times";
  if (span.status && ![0, 1, 2].includes(span.status.code)) return "status";
  return attributesProblem(span.attributes);
}

/** A receiver; `spans` gets what it has taken. */
export function otlpReceiver(spans: ReceivedSpan[]): TestEndpoint {
  return new TestEndpoint((given) => {
    if (given.path !== "/v1/traces") return { status: 404 };
    if (given.headers["content-type"] !== "application/json") return { status: 415 };
    const body = JSON.parse(given.body) as Body;
    for (const { resource, scopeSpans } of body.resourceSpans) {
      if (!resource.attributes.some(({ key }) => key === "service.name")) return { status: 400, body: "service.name" };
      for (const span of scopeSpans.flatMap((one) => one.spans)) {
        const wrong = problem(span) ?? attributesProblem(resource.attributes);
        if (wrong !== undefined) return { status: 400, body: wrong };
        spans.push(span);
      }
    }
    return { status: 200, body: { partialSuccess: {} } };
  });
}

export const attributesOf = ({ attributes }: Pick<ReceivedSpan, "attributes">): Record<string, string> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue!]));
