import type { Tariff } from "../charging/money/tariff.ts";
import type { SipRequest } from "../sip/message.ts";
import { err, ok, type Result } from "../support/result.ts";
import { compilePattern, isTooLong, type Pattern } from "./pattern.ts";
import { type Rejection, RequestView, type ViewOptions } from "./request-view.ts";
import { bodyPath, compileTemplate, headerKey, type Template } from "./template.ts";
import type { ForkChoice, Identified, Rule, Service } from "./types.ts";

/** What rules look up while they identify a request. */
export interface RuleLookups extends ViewOptions {
  service(id: string): Service | undefined;
  tariff(id: string): Tariff | undefined;
}

export type { Rejection };

/** A mistake in a rule; `path` starts with the rule's number. `message` is whole: "expected ...; found ...". */
export interface RuleProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** The rules as the router sees them, with everything that they look up. */
export interface Rules {
  /** `user`: who signed in. */
  identify(request: SipRequest, user?: string): Result<Identified, Rejection>;
}

export interface CompiledRules {
  /**
   * Says which service is meant and who the client is (M3): the first rule whose every condition holds decides.
   * Without any rule the service is what a body `<service name="beer"/>` of our own type names, else the user part of
   * the Request-URI (M1). Refused are: a URI that is not sip or sips (416, RFC 3261 §8.2.2.1), a service that nobody
   * registered or that no rule points at (404), a body that a rule needs and that cannot be read (400), a text that
   * is too long for a pattern (414, 400), a rule that rejects. `user`: who signed in.
   */
  identify(request: SipRequest, lookups: RuleLookups, user?: string): Result<Identified, Rejection>;
}

interface CompiledRule {
  readonly name: string;
  readonly uri: Pattern | undefined;
  readonly from: Pattern | undefined;
  readonly user: Pattern | undefined;
  readonly headers: readonly (readonly [key: string, pattern: Pattern])[];
  readonly body: readonly (readonly [path: readonly string[], pattern: Pattern])[];
  readonly service: Template | undefined;
  readonly attributes: readonly (readonly [name: string, value: Template])[];
  readonly client: readonly (readonly [name: string, value: Template])[];
  readonly outcome: Rule["then"];
}

const notFound: Rejection = { status: 404, reason: "Service Not Found" };
const NOTHING: Readonly<Record<string, string>> = Object.freeze({});
const NO_GROUPS: readonly (string | undefined)[] = [];

/** Compiles the operator's rule list once; the error lists every mistake in it. */
export function compileRules(rules: readonly Rule[]): Result<CompiledRules, RuleProblem[]> {
  const problems: RuleProblem[] = [];
  const compiled = rules.map((rule, i) => compileRule(rule, i, problems));
  if (problems.length > 0) return err(problems);
  return ok({
    identify: (request, lookups, user) => {
      const view = new RequestView(request, lookups, user);
      return compiled.length === 0 ? identifyByUri(view, lookups) : identifyByRules(compiled, view, lookups);
    },
  });
}

function compileRule(rule: Rule, index: number, problems: RuleProblem[]): CompiledRule {
  const checked = <T>(path: readonly string[], found: string, result: Result<T, string>): T | undefined => {
    if (result.ok) return result.value;
    problems.push({ path: [index, ...path], message: `expected ${result.error}; found ${JSON.stringify(found)}` });
    return undefined;
  };
  const pattern = (path: readonly string[], source: string | undefined) =>
    source === undefined ? undefined : checked(path, source, compilePattern(source));
  const conditions = <K>(section: "header" | "body", readName: (name: string) => Result<K, string>) =>
    Object.entries(rule.when[section] ?? {}).flatMap(([name, source]) => {
      const path = ["when", section, name];
      const key = checked(path, name, readName(name));
      const compiled = pattern(path, source);
      return key === undefined || compiled === undefined ? [] : [[key, compiled] as const];
    });
  const uri = pattern(["when", "uri"], rule.when.uri);
  const template = (path: readonly string[], text: string) =>
    checked(path, text, compileTemplate(text, uri?.groups ?? 0));
  const templates = (section: "attributes" | "client") =>
    Object.entries(rule.then[section] ?? {}).flatMap(([name, text]) => {
      const compiled = template(["then", section, name], text);
      return compiled === undefined ? [] : [[name, compiled] as const];
    });
  return {
    name: rule.name,
    uri,
    from: pattern(["when", "from"], rule.when.from),
    user: pattern(["when", "user"], rule.when.user),
    headers: conditions("header", headerKey),
    body: conditions("body", bodyPath),
    service: rule.then.service === undefined ? undefined : template(["then", "service"], rule.then.service),
    attributes: templates("attributes"),
    client: templates("client"),
    outcome: rule.then,
  };
}

function identifyByRules(
  rules: readonly CompiledRule[],
  view: RequestView,
  lookups: RuleLookups,
): Result<Identified, Rejection> {
  for (const rule of rules) {
    const groups = holds(rule, view);
    if (view.problem !== undefined) return err(view.problem);
    if (groups === undefined) continue;
    const { name } = rule;
    if (rule.outcome.reject !== undefined)
      return err({ status: rule.outcome.reject, reason: "Refused By Rule", rule: name });
    const applied = apply(rule, groups, view, lookups);
    return applied.ok ? applied : err({ ...applied.error, rule: name });
  }
  return err(view.isSip ? notFound : { status: 416, reason: "Unsupported URI Scheme" });
}

/** The groups of the uri pattern, if every condition holds. Cheap conditions are checked first, the body last. */
function holds(rule: CompiledRule, view: RequestView): readonly (string | undefined)[] | undefined {
  if (rule.user !== undefined && (view.user === undefined || !rule.user.test(view.user))) return undefined;
  const groups = rule.uri === undefined ? NO_GROUPS : matchOf(rule.uri, view);
  if (groups === undefined) return undefined;
  if (rule.from !== undefined && !anyMatches(rule.from, view.fromTexts, view, TOO_LONG_FROM)) return undefined;
  for (const [key, pattern] of rule.headers)
    if (!anyMatches(pattern, view.headerValues(key), view, TOO_LONG_HEADER)) return undefined;
  for (const [path, pattern] of rule.body)
    if (!anyMatches(pattern, view.bodyFields(path), view, TOO_LONG_FIELD)) return undefined;
  return groups;
}

function matchOf(pattern: Pattern, view: RequestView): readonly (string | undefined)[] | undefined {
  for (const text of view.uriTexts) {
    const groups = pattern.match(text);
    if (groups !== undefined) return groups;
  }
  if (view.uriTexts.some(isTooLong)) view.problem = TOO_LONG_URI;
  return undefined;
}

/**
 * Whether one of the texts matches. If none does, but one of them is too long to be matched, the request is refused: a
 * stranger could evade a rule by such a text.
 */
function anyMatches(pattern: Pattern, texts: readonly string[], view: RequestView, tooLong: Rejection): boolean {
  for (const text of texts) if (pattern.test(text)) return true;
  if (texts.some(isTooLong)) view.problem = tooLong;
  return false;
}

const TOO_LONG_URI: Rejection = { status: 414, reason: "Request-URI Too Long" };
const TOO_LONG_FROM: Rejection = { status: 400, reason: "From Too Long" };
const TOO_LONG_HEADER: Rejection = { status: 400, reason: "Header Field Too Long" };
const TOO_LONG_FIELD: Rejection = { status: 400, reason: "Field In Body Too Long" };

function apply(
  rule: CompiledRule,
  groups: readonly (string | undefined)[],
  view: RequestView,
  lookups: RuleLookups,
): Result<Identified, Rejection> {
  const attributes = fillAll(rule.attributes, groups, view);
  const client = fillAll(rule.client, groups, view);
  const id = rule.service === undefined ? serviceOf(view, lookups) : fill(rule.service, groups, view);
  if (view.problem !== undefined) return err(view.problem);
  if (typeof id === "object") return err(id);
  const service = id === undefined ? undefined : lookups.service(id);
  if (service === undefined) return err(notFound);
  const { appServers, fork, clientMayChoose } = rule.outcome;
  const priced = withTariff(rule.outcome.tariff ?? service.tariff, lookups);
  if (!priced.ok) return priced;
  return ok({
    service,
    rule: rule.name,
    attributes,
    client,
    ...(appServers && { appServers }),
    fork: fork ?? service.fork ?? "sequential",
    ...choice(clientMayChoose ?? service.clientMayChoose),
    ...priced.value,
  });
}

/** M1: the URI names the service, as in `sip:service1@portal.com`; a body of our own type may name another. */
function identifyByUri(view: RequestView, lookups: RuleLookups): Result<Identified, Rejection> {
  const id = serviceOf(view, lookups);
  if (typeof id === "object") return err(id);
  const service = lookups.service(view.describedService ?? id);
  if (service === undefined) return err(notFound);
  const priced = withTariff(service.tariff, lookups);
  if (!priced.ok) return priced;
  return ok({
    service,
    attributes: NOTHING,
    client: NOTHING,
    fork: service.fork ?? "sequential",
    ...choice(service.clientMayChoose),
    ...priced.value,
  });
}

const choice = (clientMayChoose: readonly ForkChoice[] | undefined) =>
  clientMayChoose ? { clientMayChoose } : undefined;

function serviceOf(view: RequestView, lookups: RuleLookups): string | Rejection {
  const uri = view.uri;
  if (uri === undefined || !view.isSip) return { status: 416, reason: "Unsupported URI Scheme" }; // RFC 3261 §8.2.2.1
  if (uri.user === undefined || !lookups.isPortal(uri.host)) return notFound;
  return view.uriUser ?? "";
}

/** A tariff that is named but not there must not make the session free of charge. */
function withTariff(id: string | undefined, lookups: RuleLookups): Result<{ tariff?: Tariff }, Rejection> {
  if (id === undefined) return ok({});
  const tariff = lookups.tariff(id);
  return tariff === undefined ? err({ status: 500, reason: "Tariff Not Found" }) : ok({ tariff });
}

function fillAll(
  templates: readonly (readonly [string, Template])[],
  groups: readonly (string | undefined)[],
  view: RequestView,
): Readonly<Record<string, string>> {
  if (templates.length === 0) return NOTHING;
  const filled: [string, string][] = [];
  for (const [name, template] of templates) {
    const text = fill(template, groups, view);
    if (text !== undefined) filled.push([name, text]);
  }
  return Object.fromEntries(filled);
}

/** Longest text that a rule makes of a request, in characters. */
const FILLED_CHARS = 1024;

/** The template with its placeholders filled; undefined if the request does not have one of them. */
function fill(template: Template, groups: readonly (string | undefined)[], view: RequestView): string | undefined {
  let text = "";
  for (const part of template) {
    const piece = typeof part === "string" ? part : part.kind === "group" ? groups[part.group] : view.value(part);
    if (piece === undefined) return undefined;
    text += piece;
  }
  return text.slice(0, FILLED_CHARS);
}
