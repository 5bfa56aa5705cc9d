// Code blocks of a page in docs, and the script that runs them. A comment directly above a block says how to run it:
//
//   <!-- not tested: REASON -->   the block does not run
//   <!-- exits N -->              the block must exit with this code
//   <!-- output varies -->        the block is output that depends on the model, and is not compared
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

export interface Block {
  readonly language: string;
  readonly text: string;
  /** Line of the opening fence, from 1. */
  readonly line: number;
  /** Text of the comment above the block, or null. */
  readonly comment: string | null;
}

const FENCE = /^( *)```(\w*)\n(?:([^]*?)\n)?\1```$/gm;
const COMMENT_BEFORE = /<!-- ([^>]+) -->\s*$/;

export function blocksOf(page: string): Block[] {
  return [...page.matchAll(FENCE)].map((match) => {
    const [, indent = '', language = '', text = ''] = match;
    const before = page.slice(0, match.index);
    return {
      language,
      text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      line: before.split('\n').length,
      comment: COMMENT_BEFORE.exec(before)?.[1] ?? null,
    };
  });
}

/** Reason why a block does not run, or null if it does. */
export const notTested = ({ comment }: Block): string | null =>
  /^not tested: (.+)/.exec(comment ?? '')?.[1] ?? null;

export const runs = (block: Block): boolean =>
  ['sh', 'ts'].includes(block.language) && notTested(block) === null;

const MARK = '@@ block at line ';

/** A bash script of a page's blocks. Shell variables last from one block to the next. Writes TypeScript to `dir`. */
export function scriptOf(blocks: readonly Block[], dir: string): string {
  const parts = blocks.filter(runs).map((block) => {
    const code = Number(/^exits (\d+)/.exec(block.comment ?? '')?.[1] ?? 0);
    const body = block.language === 'ts' ? runTypeScript(block, dir) : block.text;
    const checked =
      code === 0
        ? body
        : `set +e\n(set -e\n${body}\n)\ncode=$?\nset -e\n[ $code = ${code} ] || { echo "exited with $code instead of ${code}"; exit 1; }`;
    return `echo "${MARK}${block.line}"\n${checked}\n`;
  });
  return ['set -eo pipefail', 'exec 2>&1', ...parts].join('\n');
}

function runTypeScript({ text, line }: Block, dir: string): string {
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ESNext },
  });
  const file = `line-${line}.mjs`;
  writeFileSync(join(dir, file), outputText);
  return `node ${file}`;
}

/** Output of each block that ran, by the line of the block. */
export function outputsOf(output: string): Map<number, string> {
  const parts = output.split(MARK).slice(1);
  return new Map(
    parts.map((part) => {
      const end = part.indexOf('\n');
      return [Number(part.slice(0, end)), part.slice(end + 1)];
    }),
  );
}

export interface Claim {
  /** Line of the block that prints it. */
  readonly block: number;
  readonly text: string;
}

/** Lines that a page says its blocks print: those of a `text` block that follows a block that runs. */
export function claimsOf(blocks: readonly Block[]): Claim[] {
  return blocks.flatMap((block, place) => {
    const before = blocks[place - 1];
    if (block.language !== 'text' || block.comment !== null || !before || !runs(before)) return [];
    const lines = block.text.split('\n').filter((text) => !/^[\s…]*$/.test(text));
    return lines.map((text) => ({ block: before.line, text }));
  });
}

const UNIT = '(?:%|kB|MB|GB|B|ms|s|min|h|M|k)';
const PLACEHOLDERS: readonly (readonly [found: RegExp, pattern: string])[] = [
  [/▕[^▏]*▏/, '▕[^▏]*▏'],
  [/ft:[\w.:-]+/, 'ft:[\\w.:-]+'],
  [/(?:file|ftjob|eval|evalrun|sweep)[-_]\w{16,}/, '\\w+[-_]\\w+'],
  // the last eight characters of an id, which name files and folders
  [/(?<=-)(?=\w*[A-Z])\w{8}\b/, '\\w{8}'],
  [/…/, '.*'],
  [
    new RegExp(`\\d[\\d.,]*(?: ?${UNIT}(?!\\w))*(?: \\d[\\d.,]* ${UNIT}(?!\\w))*`),
    `[\\d.,]+(?: ?${UNIT}(?!\\w))*(?: [\\d.,]+ ${UNIT}(?!\\w))*`,
  ],
  [/\s+/, '\\s+'],
];

/** Pattern of a line of output in which ids, numbers, sizes and durations may differ. */
export function patternOf(line: string): RegExp {
  const any = new RegExp(PLACEHOLDERS.map(([found]) => `(${found.source})`).join('|'), 'g');
  let source = '';
  let end = 0;
  for (const match of line.trim().matchAll(any)) {
    source += escaped(line.trim().slice(end, match.index));
    source += PLACEHOLDERS[match.slice(1).findIndex((found) => found !== undefined)]?.[1] ?? '';
    end = match.index + match[0].length;
  }
  return new RegExp(source + escaped(line.trim().slice(end)));
}

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
