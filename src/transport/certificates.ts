import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { stamps as stampsOf } from "../support/file-stamps.ts";
import type { Logger } from "../support/log.ts";

/** Files of the relay's certificates and of those that it trusts; PEM. */
export interface TlsSettings {
  /** The certificate with the chain behind it, and its key. Without them the relay can only connect to others. */
  readonly cert?: string;
  readonly key?: string;
  /** Whom to believe in the certificates of servers. Default: the authorities that Node brings. */
  readonly ca?: string;
  /** Whom to believe in the certificates of clients. Without it none is asked for. */
  readonly clientCa?: string;
}

/** How often the files are looked at: whoever renews a certificate need not tell the relay. */
const LOOK_MS = 10_000;
/** The log warns once a day from then on. */
const WARN_DAYS = 14;
const DAY_MS = 86_400_000;
const MIN_VERSION = "TLSv1.2";

interface Read {
  readonly own: SecureContextOptions | undefined;
  readonly ca: Buffer | undefined;
  readonly clientCa: Buffer | undefined;
  readonly validTo: number | undefined;
}

/**
 * What TLS needs, read from files, and read again when they change. If what is new cannot be used, the former stays.
 * Connections that are open do not notice.
 */
export class Certificates {
  private readonly settings: TlsSettings;
  private readonly clock: Clock;
  private readonly log: Logger | undefined;
  private read: Read;
  private context: SecureContext;
  private seen: string;
  private timer: TimerHandle;
  /** What stood in the log last, so that it is not said again every ten seconds. */
  private said = "";
  private warnedAt = Number.NEGATIVE_INFINITY;
  private readonly servers: ((options: SecureContextOptions) => void)[] = [];

  /** Throws if the files cannot be used; the message says which and why. */
  constructor(settings: TlsSettings, clock: Clock, log?: Logger) {
    this.settings = settings;
    this.clock = clock;
    this.log = log;
    this.seen = stamps(settings);
    this.read = readTls(settings, clock.wall());
    this.context = clientContext(this.read);
  }

  /** Whether clients are asked for certificates. */
  get asksClients(): boolean {
    return this.read.clientCa !== undefined;
  }

  /** The relay has a certificate to show. */
  get hasOwn(): boolean {
    return this.read.own !== undefined;
  }

  /** For connections that we open. */
  get client(): SecureContext {
    return this.context;
  }

  /** Days until the relay's own certificate expires; undefined: it has none. */
  get daysLeft(): number | undefined {
    const { validTo } = this.read;
    return validTo === undefined ? undefined : (validTo - this.clock.wall()) / DAY_MS;
  }

  /** Calls `use` with what a server needs, now and after each change. */
  serve(use: (options: SecureContextOptions) => void): void {
    if (!this.read.own) throw new Error("tls.cert and tls.key are missing: a listener for TLS needs them");
    use(serverOptions(this.read));
    this.servers.push(use);
  }

  watch(): void {
    this.timer = this.clock.setTimeout(() => {
      this.reload(false);
      this.watch();
    }, LOOK_MS);
    this.warn();
  }

  close(): void {
    this.clock.clearTimeout(this.timer);
  }

  /** Reads the files again; `always`: also if they look unchanged. */
  reload(always: boolean): void {
    const seen = stamps(this.settings);
    if (!always && seen === this.seen && this.said === "") return;
    try {
      const read = readTls(this.settings, this.clock.wall());
      const context = clientContext(read);
      const options = serverOptions(read);
      createSecureContext(options); // throws before any server has it
      if (read.own) for (const use of this.servers) use(options);
      this.read = read;
      this.context = context;
      if (seen !== this.seen || always) this.log?.info({ daysLeft: this.wholeDaysLeft }, "tls: certificate loaded");
      this.seen = seen;
      this.said = "";
    } catch (error) {
      // A new certificate and its key are two files, of which one comes first: the next look finds both.
      const { message } = error as Error;
      if (message !== this.said)
        this.log?.error({ err: message }, "tls: the new certificate cannot be used: the former one stays");
      this.said = message;
    }
  }

  private get wholeDaysLeft(): number | undefined {
    return this.daysLeft === undefined ? undefined : Math.floor(this.daysLeft);
  }

  private warn(): void {
    const { daysLeft } = this;
    const now = this.clock.monotonic();
    if (daysLeft === undefined || daysLeft >= WARN_DAYS || now - this.warnedAt < DAY_MS) return;
    this.warnedAt = now;
    this.log?.warn({ daysLeft: this.wholeDaysLeft, cert: this.settings.cert }, "tls: the certificate expires soon");
  }
}

/**
 * Reads and checks the files. Throws with the reason: a file that cannot be read, a key that does not fit, an expired
 * certificate. `field` of the error is the setting.
 */
export function readTls({ cert, key, ca, clientCa }: TlsSettings, now: number): Read {
  const chain = file(cert, "cert");
  const secret = file(key, "key");
  let validTo: number | undefined;
  if (chain && secret) {
    const certificate = certificateIn(chain, cert!, "cert");
    const privateKey = asking("key", key!, "is no private key that can be read", () => createPrivateKey(secret));
    if (!certificate.checkPrivateKey(privateKey))
      throw new TlsMistake("key", `${key}: this key does not fit the certificate in ${cert}`);
    validTo = Date.parse(certificate.validTo);
    if (validTo < now) throw new TlsMistake("cert", `${cert}: the certificate has expired on ${certificate.validTo}`);
  } else if (chain ?? secret)
    throw new TlsMistake(chain ? "key" : "cert", "cert and key come together; one is missing");
  const authorities = file(ca, "ca");
  const clients = file(clientCa, "clientCa");
  if (authorities) certificateIn(authorities, ca!, "ca");
  if (clients) certificateIn(clients, clientCa!, "clientCa");
  return {
    own: chain && secret && { cert: chain, key: secret },
    ca: authorities,
    clientCa: clients,
    validTo,
  };
}

/** A mistake in one of the settings. */
export class TlsMistake extends Error {
  readonly field: keyof TlsSettings;

  constructor(field: keyof TlsSettings, message: string) {
    super(message);
    this.field = field;
  }
}

function file(path: string | undefined, field: keyof TlsSettings): Buffer | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new TlsMistake(field, `cannot be read: ${(error as Error).message}`);
  }
}

const certificateIn = (pem: Buffer, path: string, field: keyof TlsSettings): X509Certificate =>
  asking(field, path, "holds no certificate (PEM)", () => new X509Certificate(pem));

function asking<T>(field: keyof TlsSettings, path: string, otherwise: string, read: () => T): T {
  try {
    return read();
  } catch {
    throw new TlsMistake(field, `${path} ${otherwise}`);
  }
}

const clientContext = ({ own, ca }: Read): SecureContext =>
  createSecureContext({ ...own, ...(ca && { ca }), minVersion: MIN_VERSION });

const serverOptions = ({ own, clientCa }: Read): SecureContextOptions => ({
  ...own,
  ...(clientCa && { ca: clientCa }),
  minVersion: MIN_VERSION,
});

/** Changes whenever one of the files does. */
const stamps = ({ cert, key, ca, clientCa }: TlsSettings): string => stampsOf([cert, key, ca, clientCa]);
