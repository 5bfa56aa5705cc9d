import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ModelObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { importModel } from '../requests/import-model.js';
import { ago, bytes, printable, table } from '../output/terminal.js';
import { GRAFT } from '../called.js';

export function addModels(program: Command): void {
  const models = program.command('models').description('Manage base and fine-tuned models');
  models
    .command('list', { isDefault: true })
    .description('List models')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const all = (await api().get<{ data: readonly ModelObject[] }>('/models')).data;
      if (out.json) return out.value(all);
      if (all.length === 0)
        return out.line(
          `no models yet: ${GRAFT} models import hub:HuggingFaceTB/SmolLM2-135M-Instruct`,
        );
      const header = ['MODEL', 'KIND', 'FAMILY', 'STATUS', 'SIZE', 'AGE'];
      out.line(
        table(header, all.map(row), {
          width: out.width,
          details: all.map(reasonOf),
          optional: ['FAMILY', 'AGE'],
        }),
      );
      const failed = all.filter(isFailed).map(({ id }) => id);
      if (failed.length > 0)
        out.note(`Remove failed imports: ${GRAFT} models delete ${failed.join(' ')}`);
    });
  models
    .command('import')
    .description('Import a base model from the Hugging Face Hub or a folder')
    .argument(
      '<source>',
      "hub:OWNER/NAME, dir:FOLDER or a .gguf file (paths are on the API's machine)",
    )
    .option('--id <name>', 'id of the model (default: name of the repository or file)')
    .action(async (source: string, { id }: { id?: string }, command: Command) => {
      const { out, api } = callOf(command);
      const model = await importModel(api(), { source: sourceOf(source), ...(id && { id }) }, out);
      if (out.json) out.value(model);
      else out.line(`${model.id} is ready`);
    });
  models
    .command('delete')
    .alias('rm')
    .description('Delete models permanently')
    .argument('<model...>')
    .action(async (ids: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const id of ids) {
        const answer = await api().delete<unknown>(`/models/${encodeURIComponent(id)}`);
        if (out.json) out.value(answer);
        else out.line(`${id} deleted`);
      }
    });
}

/** Source as the API names it. Users paste pages of the Hub, `OWNER/NAME` and paths. */
function sourceOf(source: string): string {
  const [, page] = /^https?:\/\/(?:huggingface\.co|hf\.co)\/([^/?#]+\/[^/?#]+)/.exec(source) ?? [];
  if (page !== undefined) return `hub:${page}`;
  if (/^[a-z]+:/.test(source)) return source;
  if (existsSync(source)) return `dir:${resolve(source)}`;
  return /^[\w-][\w.-]*\/[\w.-]+$/.test(source) ? `hub:${source}` : source;
}

const isFailed = ({ graft }: ModelObject): boolean => graft?.status === 'error';

/** Reason why an import failed, for the line below its row. */
const reasonOf = (model: ModelObject): string | null =>
  isFailed(model) ? printable(model.graft?.status_details ?? 'no reason given') : null;

function row(model: ModelObject): string[] {
  const { graft } = model;
  return [
    model.id,
    graft?.kind ?? '',
    graft?.family ?? graft?.base ?? '',
    graft?.status ?? '',
    bytes(graft?.bytes ?? 0),
    ago(model.created),
  ];
}
