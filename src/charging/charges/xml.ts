import { err, ok, type Result } from "../../support/result.ts";
import { createXmlReader, XML_TOO_MANY, XML_WITH_DOCTYPE, XML_WITH_ENTITY } from "../../support/xml.ts";
import type { Charge } from "../events/charge-fields.ts";

const readXml = createXmlReader({ depth: 8, lists: ["charge"], entities: "refused" });

/** Reads the charges in an XML body, which are not checked yet: `<charge>` elements in `<charges>`, or a single one. */
export function readChargeXml(text: string): Result<unknown[], string> {
  const read = readXml(text);
  if (read.ok) return chargesIn(read.value as Record<string, unknown>);
  if (read.error === XML_WITH_DOCTYPE) return err("body must have no DOCTYPE and no declarations");
  if (read.error === XML_WITH_ENTITY)
    return err("body must have no entities but amp, lt, gt, quot, apos and character references");
  return err(read.error === XML_TOO_MANY ? "body has too many elements" : "body is not XML");
}

const TEXT_BESIDE = "<charges> must have no text beside its charges";

function chargesIn(root: Record<string, unknown>): Result<unknown[], string> {
  const names = Object.keys(root);
  if (names.length !== 1 || (names[0] !== "charges" && names[0] !== "charge"))
    return err("body must be <charges> or <charge>");
  if (names[0] === "charge") return list(root.charge as unknown[]);
  const charges = root.charges;
  if (typeof charges === "string" && charges.trim() !== "") return err(TEXT_BESIDE);
  if (typeof charges !== "object" || charges === null) return ok([]); // <charges/>
  for (const name of Object.keys(charges)) {
    if (name === "charge" || isNamespace(name)) continue;
    return err(name === "#text" ? TEXT_BESIDE : `<charges> must hold <charge> only, has ${asWritten(name)}`);
  }
  return list(((charges as Record<string, unknown>).charge as unknown[] | undefined) ?? []);
}

function list(charges: unknown[]): Result<unknown[], string> {
  return ok(charges.map(withoutNamespaces));
}

/**
 * Removes namespace declarations, which are not data. A field that stands twice or has elements in it is not text, and
 * is refused later for that.
 */
function withoutNamespaces(charge: unknown): unknown {
  if (typeof charge !== "object" || charge === null) return charge;
  return Object.fromEntries(Object.entries(charge).filter(([name]) => !isNamespace(name)));
}

const isNamespace = (name: string): boolean => name === "@xmlns" || name.startsWith("@xmlns:");

const asWritten = (name: string): string =>
  (name.startsWith("@") ? name.slice(1) : `<${name}>`).replace(/[^\x20-\x7e]/g, "?").slice(0, 40);

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};
const escapeXml = (text: string): string => text.replace(/[&<>"']/g, (c) => ESCAPES[c]!);

export function writeChargeXml(charges: readonly Charge[]): string {
  const fields = ["id", "item", "unitPrice", "quantity", "currency"] as const;
  const one = (charge: Charge) => fields.map((name) => `<${name}>${escapeXml(charge[name])}</${name}>`).join("");
  return `<charges>${charges.map((charge) => `<charge>${one(charge)}</charge>`).join("")}</charges>`;
}
