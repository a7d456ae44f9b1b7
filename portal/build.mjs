/*
 * Builds the demo's page for clients into dist/portal, and `tollgate/client` as one file for pages that are not built
 * into dist/client: `npm run build` does it after the compiler. It needs no network.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = new URL("../", import.meta.url);
const here = fileURLToPath(new URL("portal/", root));
const page = fileURLToPath(new URL("dist/portal/", root));
const client = fileURLToPath(new URL("dist/client/", root));
const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
};

for (const folder of [page, client]) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}
await build({
  ...common,
  absWorkingDir: here,
  entryPoints: ["main.tsx", "page.css"],
  outdir: page,
  jsx: "automatic",
  jsxImportSource: "preact",
});
copyFileSync(`${here}index.html`, `${page}index.html`);
await build({
  ...common,
  entryPoints: [fileURLToPath(new URL("dist/src/sdk/browser.js", root))],
  outfile: `${client}tollgate-client.js`,
});
const licences = (names) =>
  names.map((name) => {
    const folder = new URL(`node_modules/${name}/`, root);
    const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
    return `${name}\n\n${readFileSync(new URL(file, folder), "utf8").trim()}\n`;
  });
const inClient = licences(["sip.js", "@noble/hashes"]);
writeFileSync(`${client}licences.txt`, inClient.join("\n\n"));
writeFileSync(`${page}licences.txt`, [...inClient, ...licences(["preact", "@preact/signals"])].join("\n\n"));
