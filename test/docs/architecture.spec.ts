// docs/internals/architecture.md follows a job by `file:function`. Each of these files and functions must exist.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

interface Station {
  readonly file: string;
  readonly name: string;
}

/** Returns every `file:name` of a section, in order. */
function stations(section: string): Station[] {
  const text = readFileSync(join(ROOT, 'docs/internals/architecture.md'), 'utf8');
  const from = text.indexOf(`## ${section}\n`);
  const to = text.indexOf('\n## ', from + 1);
  if (from < 0) throw new Error(`docs/internals/architecture.md has no section "${section}"`);
  return [
    ...text
      .slice(from, to < 0 ? undefined : to)
      .matchAll(/`((?:apps|libs)\/[\w./-]+\.(?:tsx?|cpp|inc|proto)):([\w.#]+)`/g),
  ].map(([, file = '', name = '']) => ({ file, name }));
}

/** Returns the names that a TypeScript file declares: functions, classes, constants, and `Class.method`. */
function declared(file: string): Set<string> {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(ROOT, file), 'utf8'),
    ts.ScriptTarget.Latest,
    false,
    file.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS,
  );
  const names = new Set<string>();
  for (const statement of source.statements) {
    if (ts.isVariableStatement(statement))
      for (const { name } of statement.declarationList.declarations)
        if (ts.isIdentifier(name)) names.add(name.text);
    const isNamed =
      ts.isFunctionDeclaration(statement) ||
      ts.isClassDeclaration(statement) ||
      ts.isInterfaceDeclaration(statement) ||
      ts.isTypeAliasDeclaration(statement);
    if (!isNamed || !statement.name) continue;
    names.add(statement.name.text);
    if (!ts.isClassDeclaration(statement)) continue;
    for (const { name } of statement.members)
      if (name && (ts.isIdentifier(name) || ts.isPrivateIdentifier(name)))
        names.add(`${statement.name.text}.${name.text}`);
  }
  return names;
}

function isThere({ file, name }: Station): boolean {
  if (!existsSync(join(ROOT, file))) return false;
  if (/\.tsx?$/.test(file)) return declared(file).has(name);
  return readFileSync(join(ROOT, file), 'utf8').includes(name);
}

describe.each(['One job', 'A response'])('the section "%s"', (section) => {
  const found = stations(section);

  it('names files and functions that exist', () => {
    expect(found.length).toBeGreaterThan(5);
    const lost = found.filter((station) => !isThere(station));
    expect(lost.map(({ file, name }) => `${file}:${name}`)).toEqual([]);
  });
});
