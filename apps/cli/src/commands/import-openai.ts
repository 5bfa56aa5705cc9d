import type { Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { MODEL_MAP_HELP, modelMapped, type ModelMap } from '../openai-import/model-names.js';
import { show, summary } from '../openai-import/outcome.js';
import type { Output } from '../output/terminal.js';

interface Options {
  readonly model?: string;
  readonly map: ModelMap;
  readonly train?: boolean;
  readonly run?: boolean;
  readonly skipMedia?: boolean;
  readonly dryRun?: boolean;
  readonly drafts: string;
  readonly fromApi?: boolean;
  readonly download?: string;
  readonly downloadOnly?: boolean;
  readonly openaiUrl?: string;
}

export function addImportOpenai(program: Command): void {
  program
    .command('import-openai')
    .description(
      'make here what was exported from OpenAI: files, jobs, evals with their runs, and Promptfoo configurations; what is there already is not made again',
    )
    .argument(
      '[path...]',
      'files and folders: JSON Lines, the API’s JSON, Promptfoo’s YAML or JSON',
    )
    .option('-m, --model <base>', 'base of jobs whose model --map does not name')
    .option('--map <name=model>', MODEL_MAP_HELP, modelMapped, {})
    .option('--train', 'create the jobs (without it they are drafts for graft submit)')
    .option('--run', 'run evals again where their model is named (without it runs are drafts)')
    .option('--skip-media', 'leave out lines with images or sound')
    .option('--drafts <folder>', 'where drafts go', 'graft-import')
    .option(
      '--from-api',
      'download files, jobs and evals from OpenAI first, with OPENAI_API_KEY; run again to go on',
    )
    .option('--download <folder>', 'where --from-api keeps them, and implies it', 'openai-export')
    .option('--download-only', 'download, and import nothing: needs no Graft')
    .option('--openai-url <url>', 'address that is downloaded from (OPENAI_BASE_URL)')
    .option('--dry-run', 'show what would be made, and change nothing')
    .action(async (paths: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const all = [...paths];
      if (isDownload(options, command)) all.push(await downloaded(options, out));
      if (options.downloadOnly === true) return;
      if (all.length === 0)
        throw new CliError('specify the files or folders to import, or --from-api', EXIT.usage);
      if (options.train && options.model === undefined && Object.keys(options.map).length === 0)
        throw new CliError('--train needs --model BASE, or --map NAME=MODEL', EXIT.usage);
      const planned = options.dryRun === true;
      // Loaded when they are needed: every other command starts without them.
      const { find } = await import('../openai-import/found.js');
      const { importFound } = await import('../openai-import/importer.js');
      const outcomes = await importFound(
        api(),
        await find(all),
        {
          map: options.map,
          model: options.model ?? null,
          train: options.train === true,
          run: options.run === true,
          skipMedia: options.skipMedia === true,
          dryRun: planned,
          drafts: options.drafts,
        },
        (outcome) => out.json || show(out, planned, outcome),
      );
      if (out.json) out.value(outcomes);
      else out.note(summary(outcomes, planned));
      const failed = outcomes.filter(({ state }) => state === 'failed').length;
      if (failed > 0) throw new CliError(`${failed} of ${outcomes.length} could not be imported`);
    });
}

/** A folder that was named is meant to be downloaded into. */
const isDownload = (options: Options, command: Command): boolean =>
  options.fromApi === true ||
  options.downloadOnly === true ||
  command.getOptionValueSource('download') === 'cli';

async function downloaded(options: Options, out: Output): Promise<string> {
  const { OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: base } = process.env;
  if (!apiKey)
    throw new CliError('set OPENAI_API_KEY to the key of the project to download', EXIT.usage);
  const folder = options.download!;
  const url = options.openaiUrl ?? (base || 'https://api.openai.com/v1');
  const { download } = await import('../openai-import/download.js');
  const lost = await download({ url, apiKey }, folder, (text) => out.note(text));
  const left = lost.length === 0 ? '' : `; ${lost.length} could not be had`;
  out.note(`downloaded to ${folder}${left}`);
  return folder;
}
