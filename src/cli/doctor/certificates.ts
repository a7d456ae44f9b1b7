import { createPrivateKey, X509Certificate } from "node:crypto";
import { rootCertificates } from "node:tls";
import { isIp } from "../../config/listen.ts";
import { tnAuthListOf } from "../../identity/tn-auth-list.ts";
import { isFor } from "../../transport/peer-names.ts";
import { type Finding, ok, problem, type Surroundings, warning } from "./types.ts";

const DAY_MS = 86_400_000;
const WARN_DAYS = 14;
const LOCAL = new Set(["localhost", "127.0.0.1", "::1"]);

/** Certificates and keys: whether they are there, fit, are in time, have the names, and come with their chain. */
export function certificates(world: Surroundings): Finding[] {
  const { tls, http, listen, portal, identity } = world.config;
  const found: Finding[] = [];
  if (tls.cert !== undefined && tls.key !== undefined) {
    const hosts = listen.flatMap(({ advertised }) => (advertised && !isIp(advertised.host) ? [advertised.host] : []));
    found.push(...ofPair(world, "tls", tls.cert, tls.key, [...new Set([...portal.domains, ...hosts])]));
  }
  if (http.tls) found.push(...ofPair(world, "http.tls", http.tls.cert, http.tls.key, []));
  if (identity?.shaken) found.push(...ofShaken(world, identity.shaken));
  for (const [setting, path] of [
    ["tls.ca", tls.ca],
    ["tls.clientCa", tls.clientCa],
  ] as const) {
    if (path === undefined) continue;
    const [first] = certificatesIn(world.read(path));
    found.push(
      first
        ? inTime(world, `${setting} ${path}`, first)
        : problem(`${setting} ${path} holds no certificate`, "name a file in PEM"),
    );
  }
  return found.length > 0 ? found : [ok("none is needed: no listener uses TLS")];
}

function ofPair(world: Surroundings, setting: string, cert: string, key: string, names: readonly string[]): Finding[] {
  const chain = certificatesIn(world.read(cert));
  const [own] = chain;
  if (!own)
    return [
      problem(
        `${setting}.cert ${cert} cannot be read, or holds no certificate`,
        "name a file in PEM that the user of the relay may read",
      ),
    ];
  return [inTime(world, cert, own), keyFits(world, cert, key, own), ...namesIn(cert, own, names), chainOf(cert, chain)];
}

/** The certificate for telephone numbers: its chain ends at an authority that is not one of the web's. */
function ofShaken(world: Surroundings, { certificate, key }: { certificate: string; key: string }): Finding[] {
  const [own] = certificatesIn(world.read(certificate));
  if (!own)
    return [
      problem(
        `identity.shaken.certificate ${certificate} cannot be read, or holds no certificate`,
        "name a file in PEM that the user of the relay may read",
      ),
    ];
  const list = tnAuthListOf(own);
  const good = [...(list?.spc ?? []).map((code) => `provider ${code}`), ...(list?.numbers ?? [])].join(", ");
  return [
    inTime(world, certificate, own),
    keyFits(world, certificate, key, own),
    list
      ? ok(`${certificate} is for ${good}`)
      : warning(
          `${certificate} does not say for which numbers it is (no TNAuthList, RFC 8226)`,
          "verifiers in a SHAKEN network will refuse it: get one from an authority of that network",
        ),
  ];
}

function keyFits(world: Surroundings, cert: string, key: string, own: X509Certificate): Finding {
  const text = world.read(key);
  if (text === undefined)
    return problem(`${key} cannot be read`, "let the user that the relay runs as read it (chown, or a group)");
  try {
    if (own.checkPrivateKey(createPrivateKey(text))) return ok(`${key} fits ${cert}`);
    return problem(`${key} does not fit ${cert}`, "name the key that the certificate was made for");
  } catch {
    return problem(`${key} holds no private key that can be read`, "name a key in PEM, without a passphrase");
  }
}

function inTime(world: Surroundings, path: string, certificate: X509Certificate): Finding {
  const days = Math.floor((Date.parse(certificate.validTo) - world.now()) / DAY_MS);
  const renew = "renew it; the relay reads changed files by itself";
  if (Date.parse(certificate.validFrom) > world.now())
    return problem(`${path} is valid from ${certificate.validFrom} on`, "set the clock, or wait");
  if (days < 0) return problem(`${path} has expired on ${certificate.validTo}`, renew);
  if (days < WARN_DAYS) return warning(`${path} expires in ${days} days`, renew);
  return ok(`${path} is valid for ${days} more days`);
}

/** RFC 5922 §7.2: clients look for the domain that they call, as a whole: no wildcards. */
function namesIn(path: string, certificate: X509Certificate, names: readonly string[]): Finding[] {
  const missing = names.filter((name) => !LOCAL.has(name) && !isFor(certificate, name));
  if (missing.length === 0) return names.length > 0 ? [ok(`${path} is for ${names.join(", ")}`)] : [];
  const wild = /\*\./.test(certificate.subjectAltName ?? "") ? "; SIP knows no wildcards (RFC 5922 §7.2)" : "";
  return [
    problem(
      `${path} is not for ${missing.join(", ")}`,
      `get one with these names (subjectAltName), which clients look for${wild}`,
    ),
  ];
}

function chainOf(path: string, chain: readonly X509Certificate[]): Finding {
  for (const [i, one] of chain.entries()) {
    const next = chain[i + 1];
    if (next && !(one.checkIssued(next) && one.verify(next.publicKey)))
      return problem(
        `${path}: certificate ${i + 2} did not sign certificate ${i + 1}`,
        "put the relay's own first, then each signer",
      );
  }
  const last = chain.at(-1)!;
  if (isRoot(last)) return ok(`${path}: the chain ends at an authority that everybody knows`);
  if (last.checkIssued(last))
    return warning(
      `${path} ends at an authority of your own`,
      "clients have to be told to trust it; on the internet use certbot or Caddy",
    );
  return warning(
    `${path} does not say who signed "${nameOf(last.subject)}"`,
    "if clients do not know the signer, put the chain behind the certificate (fullchain.pem of certbot); for an authority of your own, clients have to trust it",
  );
}

let roots: Map<string, X509Certificate> | undefined;
/** Whether a certificate is signed by one of the authorities that Node brings, or is one. */
function isRoot(certificate: X509Certificate): boolean {
  roots ??= new Map(
    rootCertificates.map((pem) => {
      const root = new X509Certificate(pem);
      return [root.subject, root];
    }),
  );
  const root = roots.get(certificate.issuer);
  return root !== undefined && certificate.checkIssued(root) && certificate.verify(root.publicKey);
}

const nameOf = (subject: string): string => /CN=(.*)/.exec(subject)?.[1] ?? subject.replaceAll("\n", ", ");

function certificatesIn(pem: string | undefined): X509Certificate[] {
  const blocks = pem?.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return [];
  }
}
