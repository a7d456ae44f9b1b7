import { XMLParser, XMLValidator } from "fast-xml-parser";
import { err, ok, type Result } from "./result.ts";

/** The error for a body with any declaration; every other is that it is no XML. */
export const XML_WITH_DOCTYPE = "XML Body With DOCTYPE";

export interface XmlOptions {
  /** Deeper nesting is refused. */
  readonly depth: number;
  /** Names of elements that are a list also where there is only one. */
  readonly lists?: readonly string[];
}

/**
 * Makes a reader for XML from the network. Only data comes out: all values are text, attributes are keys with "@", the text of an element
 * that has attributes or children is "#text", namespace prefixes go. No entity is known but the five predefined ones and character references;
 * any declaration (DOCTYPE, ENTITY) is refused, and nothing outside the text is ever read. The error is a reason.
 */
export function createXmlReader({ depth, lists = [] }: XmlOptions): (text: string) => Result<unknown, string> {
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: "@",
    parseTagValue: false,
    parseAttributeValue: false,
    removeNSPrefix: true,
    ignoreDeclaration: true,
    ignorePiTags: true,
    maxNestedTags: depth,
    isArray: (name) => lists.includes(name),
    entityDecoder: {
      decode: decodeReferences,
      setExternalEntities: () => {},
      addInputEntities: () => {},
      reset: () => {},
      setXmlVersion: () => {},
    },
  });
  return (text) => {
    // "<!" is a comment or CDATA section or else a declaration of a document type or an entity.
    for (let at = text.indexOf("<!"); at >= 0; at = text.indexOf("<!", at + 2)) {
      if (!text.startsWith("--", at + 2) && !text.startsWith("[CDATA[", at + 2)) return err(XML_WITH_DOCTYPE);
    }
    try {
      return XMLValidator.validate(text) === true ? ok(parser.parse(text) as unknown) : err("Body Is Not XML");
    } catch {
      return err("Body Is Not XML");
    }
  };
}

const PREDEFINED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** XML 1.0 §4.1 and §4.6: character references and the five predefined entities; any other stays as it is written. */
function decodeReferences(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));/g, (all, decimal, hex, name) => {
    if (name !== undefined) return PREDEFINED[name]!;
    const code = decimal !== undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : all;
  });
}
