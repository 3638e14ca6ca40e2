/** Every block of TypeScript in README.md and docs is a program without mistakes, every one of Python can be parsed. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { TESTS } from "./support/files.ts";
import { noPython, python } from "./support/python.ts";

const ROOT = fileURLToPath(new URL("../", TESTS));
const PRELUDE = `${ROOT}docs/prelude.d.ts`;

interface Block {
  /** A file that exists in memory only, named after where the block stands. */
  path: string;
  text: string;
}

function blocksOf(document: string, text: string): Block[] {
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => {
    const line = text.slice(0, match.index).split("\n").length + 1;
    return { path: `${ROOT}${document}.line-${line}.ts`, text: `${match[1]}\nexport {};\n` };
  });
}

/** What the compiler finds, with the project's own settings. */
function mistakes(blocks: readonly Block[]): string[] {
  const { config } = ts.readConfigFile(`${ROOT}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [PRELUDE] }, ts.sys, ROOT);
  const texts = new Map(blocks.map(({ path, text }) => [path, text]));
  const host = ts.createCompilerHost(options), { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => texts.has(path) || fileExists(path);
  host.readFile = (path) => texts.get(path) ?? readFile(path);
  host.getSourceFile = (path, target, ...rest) =>
    texts.has(path) ? ts.createSourceFile(path, texts.get(path)!, target) : getSourceFile(path, target, ...rest);
  const program = ts.createProgram({
    rootNames: [PRELUDE, ...texts.keys()],
    // Examples declare what a reader will use.
    options: { ...options, noEmit: true, noUnusedLocals: false, declaration: false, isolatedDeclarations: false },
    host,
  });
  return blocks.flatMap(({ path }) => {
    const source = program.getSourceFile(path)!;
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map((found) => {
      const { line } = source.getLineAndCharacterOfPosition(found.start ?? 0);
      return `${path.slice(ROOT.length)} + ${line}: ${ts.flattenDiagnosticMessageText(found.messageText, " ")}`;
    });
  });
}

const names = (await readdir(`${ROOT}docs`)).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`);
const documents = ["README.md", ...names];

test("the examples in documents are programs without mistakes", async () => {
  const blocks = (await Promise.all(documents.map(async (name) => blocksOf(name, await readFile(ROOT + name, "utf8")))))
    .flat();
  assert.ok(blocks.length > 10, `only ${blocks.length} blocks found`);
  const wrong = blocksOf("wrong.md", "```ts\nconst frames: string = (await model.encode(samples)).audioCodes;\n```\n");
  const found = mistakes([...blocks, ...wrong]);
  assert.match(found.find((mistake) => mistake.startsWith("wrong.md.line-2.ts + 0")) ?? "", /not assignable/);
  assert.deepEqual(found.filter((mistake) => !mistake.startsWith("wrong.md")), []);
});

test(
  `the examples in Python can be parsed${noPython ? ` (skipped: ${noPython})` : ""}`,
  { skip: noPython },
  async () => {
    const parse = (program: string) => python("-c", "import ast, sys; ast.parse(sys.argv[1])", program);
    let count = 0;
    for (const name of documents) {
      for (const [, program] of (await readFile(ROOT + name, "utf8")).matchAll(/^```python\n(.*?)^```$/gms)) {
        await assert.doesNotReject(parse(program), `${name}: ${program}`);
        count++;
      }
    }
    assert.ok(count > 3, `only ${count} blocks found`);
    await assert.rejects(parse("with codes"));
  },
);
