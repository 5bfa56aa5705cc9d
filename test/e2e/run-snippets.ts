// Runs the code snippets of the dashboard unchanged.
import { execFile } from 'node:child_process';
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Catalog, ModelObject } from '@graft/contracts';
import { snippetsOfModel } from '@graft/contracts/model-snippets';
import ts from 'typescript';
import type { Installation } from './installation.js';

const MODULES = join(import.meta.dirname, '../../node_modules');
const run = promisify(execFile);

/**
 * Runs the curl and the TypeScript snippet of a model and returns their output. Images and audio clips are
 * read from the installation's folder.
 */
export async function runSnippets(
  { openai, where, dir }: Installation,
  model: string,
): Promise<{ readonly curl: string; readonly typescript: string }> {
  const told = await openai.get<ModelObject>(`/models/${encodeURIComponent(model)}`);
  const catalog = await openai.get<Catalog>('/catalog');
  const snippets = snippetsOfModel(told, catalog, where.url);
  const codeOf = (title: string): string =>
    snippets.find((snippet) => snippet.title === title)?.code ?? '';
  const env = { ...process.env, GRAFT_API_KEY: where.apiKey };
  const curl = await run('sh', ['-c', codeOf('curl')], { cwd: dir, env });
  const { outputText: code } = ts.transpileModule(codeOf('TypeScript'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ESNext },
  });
  // Makes the OpenAI library available as an installed package.
  const modules = join(dir, 'node_modules');
  if (!existsSync(modules)) symlinkSync(MODULES, modules);
  const typescript = await run('node', ['--input-type=module', '-e', code], { cwd: dir, env });
  return { curl: curl.stdout, typescript: typescript.stdout };
}
