import { isToken } from "../sip/chars.ts";
import { knownHeader } from "../sip/names.ts";
import { err, ok, type Result } from "../support/result.ts";

/** Where a placeholder of a rule takes its text from. */
export type Source =
  | { readonly kind: "group"; readonly group: number }
  | { readonly kind: "header"; readonly key: string }
  | { readonly kind: "body"; readonly path: readonly string[] }
  | { readonly kind: "user" | "uri.user" | "uri.host" | "from.user" | "from.host" };

/** Literal text and placeholders in turn: `wine-{body.request.colour}` or `$1`. */
export type Template = readonly (string | Source)[];

const NAMES = ["user", "uri.user", "uri.host", "from.user", "from.host"] as const;
const EXPECTED =
  "text with $1, {header.Name}, {body.path}, {user}, {uri.user}, {uri.host}, {from.user}, {from.host} ({{ stands for a brace, $$ for $)";

/**
 * Headers that may hold a credential (From too, see `fromPassword`). Rules must not read them, since what rules set
 * goes into logs and events.
 */
const SECRET = new Set(["from", "authorization", "proxy-authorization"]);

/**
 * Header name of a condition or placeholder, long or compact, as the key in `Headers`; the error is a phrase for
 * "expected ...".
 */
export function headerKey(name: string): Result<string, string> {
  if (!isToken(name)) return err("the name of a header"); // RFC 3261 §25.1
  const key = knownHeader(name)?.key ?? name.toLowerCase();
  if (SECRET.has(key)) return err("a header that holds no credential (use `from` for the URI of From)");
  return ok(key);
}

/** `order.items.0.name` as keys; the error is a phrase for "expected ...". */
export function bodyPath(text: string): Result<readonly string[], string> {
  const path = text.split(".");
  if (path.length > 32 || path.some((key) => key === ""))
    return err("a path such as request.category or order.items.0.name");
  return ok(path);
}

/**
 * Reads a template; `groups` is how many groups the rule's `uri` pattern has. The error is a phrase for "expected ...".
 */
export function compileTemplate(text: string, groups: number): Result<Template, string> {
  const parts: (string | Source)[] = [];
  let literal = "";
  const placeholder = /\{\{|\}\}|\$\$|\$(\d)|\{([^{}]*)\}|[{}]/g;
  let end = 0;
  for (const match of text.matchAll(placeholder)) {
    literal += text.slice(end, match.index);
    end = match.index + match[0].length;
    if (match[0] === "{{" || match[0] === "}}" || match[0] === "$$") {
      literal += match[0][0];
      continue;
    }
    const source = readSource(match[1], match[2], groups);
    if (!source.ok) return source;
    if (literal !== "") parts.push(literal);
    literal = "";
    parts.push(source.value);
  }
  literal += text.slice(end);
  if (literal !== "") parts.push(literal);
  return ok(parts);
}

function readSource(group: string | undefined, name: string | undefined, groups: number): Result<Source, string> {
  if (group !== undefined) {
    const number = Number(group);
    if (number < 1 || number > groups) return err(`a group that the uri pattern has (it has ${groups})`);
    return ok({ kind: "group", group: number });
  }
  if (name?.startsWith("header.")) {
    const key = headerKey(name.slice(7));
    return key.ok ? ok({ kind: "header", key: key.value }) : key;
  }
  if (name?.startsWith("body.")) {
    const path = bodyPath(name.slice(5));
    return path.ok ? ok({ kind: "body", path: path.value }) : path;
  }
  const kind = NAMES.find((known) => known === name);
  return kind === undefined ? err(EXPECTED) : ok({ kind });
}
