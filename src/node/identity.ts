import type { Config } from "../config/schema.ts";
import { type IdentityKey, loadIdentityKey } from "../identity/key.ts";
import { createProof, type Proof } from "../identity/proof.ts";
import { type Attest, createShaken, loadShakenKey, type ShakenKey } from "../identity/shaken.ts";
import { WatchedFiles } from "../identity/watched.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Random } from "../support/random.ts";

/** What everybody may read of the relay's keys. */
export interface Published extends Pick<IdentityKey, "pem" | "jwks"> {
  /**
   * The operator's certificate for telephone numbers with its chain; undefined: there is none, or others publish it.
   */
  readonly shaken?: string;
}

const DAY_MS = 86_400_000;

/** With what the relay signs (RFC 8224): the portal's own key, and the operator's certificate for `shaken`. */
export class Signing {
  private readonly own: WatchedFiles<IdentityKey>;
  private readonly shaken: WatchedFiles<ShakenKey> | undefined;
  private readonly clock: Clock;
  private readonly settings: NonNullable<Config["identity"]>;

  /** Undefined where the operator has not switched it on. Throws if a file cannot be used. */
  static of({ identity, data }: Pick<Config, "identity" | "data">, clock: Clock, log: Logger): Signing | undefined {
    return identity && new Signing(identity, data, clock, log);
  }

  private constructor(settings: NonNullable<Config["identity"]>, data: string, clock: Clock, log: Logger) {
    const { shaken } = settings;
    this.clock = clock;
    this.settings = settings;
    const files = [settings.key, settings.certificate];
    this.own = new WatchedFiles("identity", files, () => loadIdentityKey(settings, data, clock), { clock, log });
    if (!shaken) return;
    const read = () => loadShakenKey(shaken, settings, clock.wall());
    this.shaken = new WatchedFiles("identity.shaken", [shaken.certificate, shaken.key], read, { clock, log });
  }

  /** The portal's own key, as it is now. */
  get key(): IdentityKey {
    return this.own.current;
  }

  get published(): Published {
    const { pem, jwks } = this.own.current;
    const shaken = this.settings.shaken?.url === undefined ? this.shaken?.current.pem : undefined;
    return { pem, jwks, ...(shaken !== undefined && { shaken }) };
  }

  /** Days until the certificate for `shaken` expires; undefined: there is none. */
  get daysLeft(): number | undefined {
    return this.shaken && (this.shaken.current.validTo - this.clock.wall()) / DAY_MS;
  }

  /** What signs INVITEs to app servers. */
  signers(random: Random): { readonly proof: Proof; readonly attest?: Attest } {
    const { clock, shaken } = this;
    const proof = createProof({ signer: () => this.key, clock, random });
    if (!shaken) return { proof };
    const { appServers } = this.settings.shaken!;
    return { proof, attest: createShaken({ key: () => shaken.current, appServers, clock }) };
  }

  watch(): void {
    this.own.watch();
    this.shaken?.watch();
  }

  /** Reads all files again. */
  reload(): void {
    this.own.reload(true);
    this.shaken?.reload(true);
  }

  close(): void {
    this.own.close();
    this.shaken?.close();
  }
}
