import { z } from "zod";
import type { OperationContext } from "./context.ts";
import { OperationError } from "./mistake.ts";
import type { Right } from "./rights.ts";

/*
 * What operators do and look at, one thing each: an operation. `tollgate` runs it on this machine or asks a relay for
 * it, and a relay offers it by HTTP. Both have the same input, the same answer and the same mistakes. The document of
 * the API, who may do what, and what stands in the audit log come from the operation, too.
 */

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** What an operation is, without its types. */
// biome-ignore lint/suspicious/noExplicitAny: operations of all types stand in one list
export type AnyOperation = Operation<any, any>;

export interface Operation<In, Out> {
  /** `operationId` of the API's document; in the audit log it says what was done. */
  readonly id: string;
  readonly method: Method;
  /** `/v1/users/{id}`; what stands in braces is a field of the input. */
  readonly path: string;
  readonly summary: string;
  readonly right: Right;
  /** The answer says something about people: that it was read stands in the audit log. */
  readonly personal?: true;
  /** It asks the relay that runs; with `if-there`, the store where none runs. Others need the store alone. */
  readonly live?: true | "if-there";
  /** Its answer is a file of this media type, as text or bytes, and no JSON. */
  readonly file?: true;
  /** How long its body may be, where that is more than other bodies. */
  readonly bodyBytes?: number;
  readonly input: z.ZodType<In>;
  readonly output: z.ZodType;
  /** Throws an OperationError that says what is wrong. */
  run(context: OperationContext, input: In): Out | Promise<Out>;
}

/** An operation whose input has the type of its schema. */
export function operation<Schema extends z.ZodObject, Out>(
  it: Omit<Operation<z.output<Schema>, Out>, "input"> & { readonly input: Schema },
): Operation<z.output<Schema>, Out> {
  return it as unknown as Operation<z.output<Schema>, Out>;
}

/** The names in braces of an operation's path. */
export const namesIn = (path: string): string[] => Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name!);

/** Whether the rest of the input is in the query; else it is the body. */
export const isInQuery = (method: Method): boolean => method === "GET" || method === "DELETE";

/** The fields of an operation's input: these names, and nothing that every object has. */
export const fieldsOf = ({ input }: Pick<AnyOperation, "input">): Readonly<Record<string, z.ZodType>> =>
  Object.assign(Object.create(null), (input as unknown as z.ZodObject).shape);

/** A value of a path or a query as the field's type wants it; what cannot be read stays text, and is refused later. */
export function fromText(field: z.ZodType | undefined, text: string): unknown {
  const type = field && typeOf(field);
  if (type === "number" && /^-?\d{1,15}(\.\d{1,9})?$/.test(text)) return Number(text);
  if (type === "boolean")
    return text === "true" || text === "1" || text === "" ? true : text === "false" ? false : text;
  return text;
}

function typeOf(field: z.ZodType): string {
  const { type, innerType } = field.def as { readonly type: string; readonly innerType?: z.ZodType };
  return innerType && ["optional", "default", "prefault", "nonoptional"].includes(type) ? typeOf(innerType) : type;
}

/** The input, checked; throws an OperationError that names the field. */
export function checkedInput<In>({ input }: Pick<Operation<In, unknown>, "input">, given: unknown): In {
  // What is undefined was not given.
  const fields = Object.entries(given as object).filter(([, value]) => value !== undefined);
  const read = input.safeParse(Object.fromEntries(fields));
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const { path = [], message = "cannot be read" } = issue ?? {};
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys.join(", ") : undefined;
  if (unknown !== undefined) throw new OperationError("usage", `there is no field ${unknown}`);
  const field = path.join(".");
  throw new OperationError("usage", message, field === "" ? {} : { field });
}

/** Used in many inputs. */
export const idField = z.string().min(1).max(256);
export const nothing = z.strictObject({});
