import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "./project.ts";

/* The pages of this repository, and what stands in them. */

const ELSEWHERE = /^(node_modules|dist[\w-]*|\.git|data|coverage)$/;

/** A page of Markdown; its path is seen from the repository. */
export class Page {
  readonly path: string;
  readonly text: string;

  constructor(path: string) {
    this.path = path;
    this.text = readFileSync(join(ROOT, path), "utf8");
  }

  get lines(): string[] {
    return this.text.split("\n");
  }

  /** Without what stands between fences. */
  get prose(): string {
    return this.text.replace(/^```[\s\S]*?^```$/gm, "");
  }

  /** What stands between fences of that language; "" for those that name none. */
  blocks(language: string): string[] {
    const fences = [...this.text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)];
    return fences.filter((fence) => fence[1] === language).map((fence) => fence[2]!);
  }

  /** What stands in backticks on one line. */
  get codes(): string[] {
    return [...this.prose.matchAll(/`([^`\n]+)`/g)].map((found) => found[1]!);
  }

  /** As a code host makes them: two headings of one text would be two anchors, which no page here has. */
  get anchors(): string[] {
    return [...this.prose.matchAll(/^#+ (.+)$/gm)].map((heading) => slug(heading[1]!));
  }

  /** Where links lead, but for those to other hosts: file, seen from the repository, and anchor. */
  get links(): { readonly title: string; readonly target: string; readonly file: string; readonly anchor: string }[] {
    return [...this.prose.matchAll(/\[((?:[^[\]]|\[[^[\]]*\])*)\]\(([^()\s]+)\)/g)]
      .filter((link) => !/^(https?|mailto):/.test(link[2]!))
      .map((link) => {
        const [file = "", anchor = ""] = link[2]!.split("#");
        const from = file === "" ? this.path : join(dirname(this.path), file);
        return { title: link[1]!.replace(/\s+/g, " "), target: link[2]!, file: from, anchor };
      });
  }

  /** From a heading to the next of the same or a higher level. */
  section(title: string): string {
    const at = this.lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, "") === title);
    if (at < 0) throw new Error(`${this.path} has no section ${title}`);
    const level = /^#+/.exec(this.lines[at]!)![0].length;
    const rest = this.lines.slice(at + 1);
    const end = rest.findIndex((line) => new RegExp(`^#{1,${level}} `).test(line));
    return rest.slice(0, end < 0 ? undefined : end).join("\n");
  }
}

/** Every page of the repository. */
export function allPages(): Page[] {
  const found: string[] = [];
  const look = (folder: string): void => {
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && !ELSEWHERE.test(entry.name)) look(path);
      else if (entry.isFile() && entry.name.endsWith(".md")) found.push(path);
    }
  };
  look("");
  return found.sort().map((path) => new Page(path));
}

const slug = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
