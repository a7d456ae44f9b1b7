/*
 * Builds the page into dist/console: `npm run build` does it after the compiler. It needs no network. What is served is
 * in this one folder, and its files have their contents in their names, so that browsers may keep them.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chartOf } from "./charts.mjs";

const root = new URL("../", import.meta.url);
const out = fileURLToPath(new URL("dist/console/", root));
const { chartLinks } = await import(new URL("dist/machines/links.js", root).href);

const charts = [];
for (const name of ["request", "session", "transfer", "billing"]) {
  const module = await import(new URL(`dist/machines/${name}.js`, root).href);
  charts.push(await chartOf(module[`${name}Machine`], chartLinks[name], `machines/${name}.ts`, root));
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const built = await build({
  absWorkingDir: fileURLToPath(new URL("console/", root)),
  entryPoints: ["src/main.tsx", "app.css"],
  outdir: out,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
  plugins: [
    {
      name: "charts",
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^charts:/ }, ({ path }) => ({ path, namespace: "charts" }));
        onLoad({ filter: /./, namespace: "charts" }, () => ({ contents: JSON.stringify(charts), loader: "json" }));
      },
    },
  ],
});
const nameFor = (entry) =>
  Object.entries(built.metafile.outputs)
    .find(([, output]) => output.entryPoint === entry)[0]
    .split("/")
    .at(-1);
const page = readFileSync(new URL("index.html", import.meta.url), "utf8")
  .replace("app.css", nameFor("app.css"))
  .replace("main.js", nameFor("src/main.tsx"));
writeFileSync(`${out}index.html`, page);
// The page has their code in it.
const licences = ["preact", "@preact/signals", "@preact/signals-core"].map(
  (name) => `${name}\n\n${readFileSync(new URL(`node_modules/${name}/LICENSE`, root), "utf8").trim()}\n`,
);
writeFileSync(`${out}licences.txt`, licences.join("\n\n"));
