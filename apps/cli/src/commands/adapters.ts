import type { ModelObject } from '@graft/contracts';
import type { Command } from 'commander';
import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { useCommand } from '../find/model-use.js';

/** What of a PEFT folder is its adapter. */
const FILES = ['adapter_config.json', 'adapter_model.safetensors'];

interface Options {
  readonly base: string;
  readonly suffix?: string;
}

export function addAdapters(program: Command): void {
  program
    .command('adapters')
    .description('adapters that were trained elsewhere')
    .command('upload')
    .description('take up an adapter of PEFT as a model of the project')
    .argument('<path>', 'a PEFT folder, or a .zip of one')
    .requiredOption('--base <model>', 'the base that it was trained on')
    .option('--suffix <name>', "suffix of the new model's name")
    .action(async (path: string, { base, suffix }: Options, command: Command) => {
      const { out, api } = callOf(command);
      const form = new FormData();
      form.set('model', base);
      if (suffix !== undefined) form.set('suffix', suffix);
      for (const file of await adapterFiles(path))
        form.append('file', await openAsBlob(file), basename(file));
      const model = await api().post<ModelObject>('/adapters', form);
      if (out.json) return out.value(model);
      out.line(model.id);
      const use = await useCommand(api(), model.id);
      if (use !== null) out.note(`to try it: ${use}`);
    });
}

async function adapterFiles(path: string): Promise<string[]> {
  const found = await stat(path).catch(() => null);
  if (found === null) throw new CliError(`${path} does not exist`);
  if (!found.isDirectory()) return [path];
  const files = FILES.map((name) => join(path, name));
  for (const file of files)
    if ((await stat(file).catch(() => null)) === null)
      throw new CliError(
        `${path} has no ${basename(file)}; a PEFT folder has ${FILES.join(' and ')}`,
      );
  return files;
}
