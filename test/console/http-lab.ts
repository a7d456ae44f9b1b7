import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type IncomingHttpHeaders, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A certificate for 127.0.0.1 that signs itself, made by openssl. */
export function selfSigned(folder: string, name = "cert"): { cert: string; key: string; pem: Buffer } {
  const cert = join(folder, `${name}.pem`);
  const key = join(folder, `${name}.key`);
  const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  execFileSync(
    "openssl",
    ["req", "-x509", ...curve, "-nodes", "-days", "2", "-keyout", key, "-out", cert, ...subject],
    {
      stdio: "pipe",
    },
  );
  return { cert, key, pem: readFileSync(cert) };
}

export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "tg-http-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the JSON is
  readonly json: any;
}

/** One request, on a connection of its own. With `ca` by HTTPS. */
export function ask(
  to: { readonly port: number; readonly ca?: Buffer | undefined; readonly host?: string },
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body: string | Buffer = "",
): Promise<Answered> {
  const options = { host: to.host ?? "127.0.0.1", port: to.port, method, path, headers, agent: false as const };
  return new Promise((resolve, reject) => {
    const done: Parameters<typeof plainRequest>[2] = (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        const isJson = /[/+]json\b/.test(response.headers["content-type"] ?? "");
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: isJson ? JSON.parse(text) : undefined,
        });
      });
    };
    const outgoing = to.ca ? tlsRequest({ ...options, ca: to.ca }, done) : plainRequest(options, done);
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
