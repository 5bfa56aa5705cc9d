import type { ModelObject } from '@graft/contracts';
import type { Command } from 'commander';
import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { useCommand } from '../find/model-use.js';

/** Files of the adapter in a PEFT folder. */
const FILES = ['adapter_config.json', 'adapter_model.safetensors'];

interface Options {
  readonly base: string;
  readonly suffix?: string;
}

export function addAdapters(program: Command): void {
  program
    .command('adapters')
    .description('Import adapters that were trained elsewhere')
    .command('upload')
    .description('Import a PEFT adapter as a model of the project')
    .argument('<path>', 'PEFT folder, or a .zip of one')
    .requiredOption('--base <model>', 'base model that it was trained on')
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
      if (use !== null) out.note(`Try it: ${use}`);
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
        `${path} has no ${basename(file)}; expected a PEFT folder with ${FILES.join(' and ')}`,
      );
  return files;
}
