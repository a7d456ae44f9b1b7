/*
 * Makes of `tollgate/sdk` a package of its own, in dist-sdk: what src/sdk/index imports, and nothing else; with the
 * dependencies that these files name, in the versions of the whole. Run by `npm run pack:sdk`, which builds first.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const out = process.argv[2] ?? join(root, "dist-sdk");
const NAME = "tollgate-sdk";

const files = new Set();
const packages = new Set();
/** Follows imports: of code from `.js` to `.js`, of types from `.d.ts` to `.d.ts`. */
function follow(file, ending) {
  if (files.has(file)) return;
  files.add(file);
  for (const [, from] of readFileSync(file, "utf8").matchAll(/\b(?:from|import)\s*\(?\s*"((?:\.|node:|[\w@])[\w@./:-]*)"/g)) {
    if (from.startsWith(".")) follow(join(dirname(file), from.replace(/\.(?:ts|js)$/, "") + ending), ending);
    else if (!from.startsWith("node:")) packages.add(/^(?:@[^/]+\/)?[^/]+/.exec(from)[0]);
  }
}
for (const ending of [".js", ".d.ts"]) follow(join(root, `dist/src/sdk/index${ending}`), ending);

rmSync(out, { recursive: true, force: true });
for (const file of files) {
  const to = join(out, "lib", relative(join(root, "dist/src"), file));
  mkdirSync(dirname(to), { recursive: true });
  const text = readFileSync(file, "utf8");
  // "Go to definition" leads to the source, which is in the package, too.
  writeFileSync(to, file.endsWith(".d.ts") ? text : text.replace(/^\/\/# sourceMappingURL=.*\n?/m, ""));
  if (!file.endsWith(".d.ts")) continue;
  const name = relative(join(root, "dist/src"), file).replace(/\.d\.ts$/, ".ts");
  const source = join(out, "src", name);
  mkdirSync(dirname(source), { recursive: true });
  cpSync(join(root, "src", name), source);
  const map = JSON.parse(readFileSync(`${file}.map`, "utf8"));
  writeFileSync(`${to}.map`, JSON.stringify({ ...map, sources: [relative(dirname(to), source)] }));
}

const whole = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const { version, license, type, engines } = whole;
const dependencies = Object.fromEntries([...packages].sort().map((name) => [name, whole.dependencies[name]]));
const entry = { types: "./lib/sdk/index.d.ts", default: "./lib/sdk/index.js" };
const description = "App servers and clients for Tollgate, a SIP session relay";
// `./sdk`: installed under the name `tollgate`, it is imported as from the whole.
const exports = { ".": entry, "./sdk": entry, "./package.json": "./package.json" };
const manifest = { name: NAME, version, description, license, type, engines, exports, dependencies };
writeFileSync(join(out, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);

const asHere = (text) => text.replaceAll("tollgate/sdk", NAME);
for (const page of ["README.md", "WIRE.md"]) {
  const text = readFileSync(join(root, "src/sdk", page), "utf8");
  writeFileSync(join(out, page), asHere(text.replace(/\[([^\]]+)\]\(\.\.\/\.\.\/[^)]*\)/g, "$1"))); // those pages are not in it
}
const examples = join(root, "src/sdk/examples");
mkdirSync(join(out, "examples"));
for (const name of readdirSync(examples))
  writeFileSync(join(out, "examples", name), asHere(readFileSync(join(examples, name), "utf8")));
cpSync(join(root, "LICENSE"), join(out, "LICENSE"));
