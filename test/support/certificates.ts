import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { authority, type Issued } from "../../src/identity/certificate.ts";

export * from "../../src/identity/certificate.ts";

/** A folder with `ca.pem`, and `cert.pem` and `key.pem` for those names. The process removes it where it can. */
export function certificateFolder(names: readonly string[] = ["DNS:localhost", "IP:127.0.0.1"], ca = authority()) {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-tls-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const write = ({ cert, key }: Issued) => {
    writeFileSync(join(folder, "cert.pem"), cert);
    writeFileSync(join(folder, "key.pem"), key, { mode: 0o600 });
  };
  writeFileSync(join(folder, "ca.pem"), ca.cert);
  write(ca.issue({ names }));
  return {
    authority: ca,
    folder,
    ca: join(folder, "ca.pem"),
    cert: join(folder, "cert.pem"),
    key: join(folder, "key.pem"),
    /** Puts another certificate into the place of the first. */
    write,
  };
}
