import { Document, visit } from "yaml";
import { OPERATIONS } from "../operations/all.ts";
import { pathsOf } from "../operations/describe.ts";
import { watchCalls } from "./events-route.ts";

/** What stands between these lines of ops/openapi.yaml is made of the operations. */
export const MADE = "  # Made by `npm run api` from src/operations:\n";
const END = "  # That is made; the rest is written by hand.\n";

/** What is short stands on one line. */
const SHORT = 100;

/** The document with the operations as they are now. */
export function openApiText(before: string): string {
  const [hand = "", rest = ""] = before.split(MADE);
  const after = rest.slice(rest.indexOf(END));
  const paths = pathsOf([...OPERATIONS, watchCalls]);
  const made = new Document(paths, { aliasDuplicateObjects: false });
  visit(made, {
    Collection(_, node) {
      if (JSON.stringify(node).length > SHORT) return undefined;
      node.flow = true;
      return visit.SKIP;
    },
  });
  const text = made.toString({ lineWidth: 118, flowCollectionPadding: true });
  return `${hand}${MADE}${text.replace(/^(?=.)/gm, "  ")}${after}`;
}
