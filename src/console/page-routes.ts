import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Hono } from "hono";
import { answered, type Env } from "./http.ts";
import { problem } from "./problem.ts";

/*
 * The console's page. `npm run build` makes it (console/build.mjs). Its few files are read once. Nothing in them is
 * secret and none depends on who asks: what the page shows it asks of the API.
 */

/**
 * Nothing but the relay's own files may run or be asked, nobody may frame the page, and no text can become markup.
 * (Content Security Policy Level 3; Trusted Types.)
 */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const INDEX = "index.html";
const HEADERS = {
  "Content-Security-Policy": CONTENT_SECURITY_POLICY,
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
  "Referrer-Policy": "no-referrer",
  "X-Frame-Options": "DENY",
};

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  txt: "text/plain; charset=utf-8",
};
/** All but the page itself have their contents in their names. */
const FOR_EVER = "public, max-age=31536000, immutable";

/** `GET /console/` and the files of the page. */
export function addPageRoutes(app: Hono<Env>): void {
  app.get("/console", (c) => c.body(null, 308, { Location: "console/" }));
  app.get("/console/:file{[A-Za-z0-9._-]*}", (c) => {
    const name = c.req.param("file") || INDEX;
    const file = pageFiles().get(name);
    const type = TYPES[name.split(".").at(-1)!];
    if (file === undefined || type === undefined)
      return answered(c, problem("not-found", name === INDEX ? "the page was not built: npm run build" : undefined));
    const headers = {
      ...HEADERS,
      "Content-Type": type,
      "Cache-Control": name === INDEX ? "no-cache" : FOR_EVER,
      Vary: "Accept-Encoding",
    };
    const takesGzip = /\bgzip\b/.test(c.req.header("accept-encoding") ?? "");
    return takesGzip
      ? c.body(file.gzipped, 200, { ...headers, "Content-Encoding": "gzip" })
      : c.body(file.plain, 200, headers);
  });
}

/** A file of the page, as it is and compressed. */
export interface PageFile {
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly gzipped: Uint8Array<ArrayBuffer>;
}

let files: ReadonlyMap<string, PageFile> | undefined;

/** By name. Found from src/ and from dist/; empty where the page was not built. */
export function pageFiles(): ReadonlyMap<string, PageFile> {
  if (files && files.size > 0) return files;
  const folders = ["../../dist/console/", "../../console/"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const folder = folders.find((path) => existsSync(path + INDEX) && !existsSync(`${path}build.mjs`));
  const names = folder === undefined ? [] : readdirSync(folder);
  files = new Map(
    names.map((name) => {
      const plain = new Uint8Array(readFileSync(folder + name));
      return [name, { plain, gzipped: new Uint8Array(gzipSync(plain, { level: 9 })) }];
    }),
  );
  return files;
}
