import { Option, type Command } from 'commander';
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
    .description('Import files, jobs and evals from OpenAI (safe to re-run)')
    .argument(
      '[path...]',
      'files and folders: JSON Lines, JSON of the OpenAI API, Promptfoo YAML or JSON',
    )
    .option('-m, --model <base>', 'base model of jobs whose model is not in --map')
    .addOption(
      new Option('--map <name=model>', MODEL_MAP_HELP).argParser(modelMapped).default({}, 'none'),
    )
    .option('--train', 'create the jobs (default: write drafts for graft submit)')
    .option('--run', 're-run evals whose model is known (default: write drafts)')
    .option('--skip-media', 'skip lines with images or audio')
    .option('--drafts <folder>', 'folder for drafts', 'graft-import')
    .option(
      '--from-api',
      'download files, jobs and evals from OpenAI first (OPENAI_API_KEY); re-run to resume',
    )
    .option('--download <folder>', 'folder for --from-api; implies it', 'openai-export')
    .option('--download-only', 'download without importing; needs no running Graft')
    .option('--openai-url <url>', 'API to download from (OPENAI_BASE_URL)')
    .option('--dry-run', 'show what would be imported without changing anything')
    .action(async (paths: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const all = [...paths];
      if (isDownload(options, command)) all.push(await downloaded(options, out));
      if (options.downloadOnly === true) return;
      if (all.length === 0)
        throw new CliError('specify the files or folders to import, or --from-api', EXIT.usage);
      if (options.train && options.model === undefined && Object.keys(options.map).length === 0)
        throw new CliError('--train requires --model BASE or --map NAME=MODEL', EXIT.usage);
      const planned = options.dryRun === true;
      // Loaded here so that other commands start faster.
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
      if (failed > 0)
        throw new CliError(`${failed} of ${outcomes.length} items could not be imported`);
    });
}

/** Whether to download first. Naming --download implies it. */
const isDownload = (options: Options, command: Command): boolean =>
  options.fromApi === true ||
  options.downloadOnly === true ||
  command.getOptionValueSource('download') === 'cli';

async function downloaded(options: Options, out: Output): Promise<string> {
  const { OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: base } = process.env;
  if (!apiKey)
    throw new CliError(
      'OPENAI_API_KEY is not set; set it to a key of the project to download',
      EXIT.usage,
    );
  const folder = options.download!;
  const url = options.openaiUrl ?? (base || 'https://api.openai.com/v1');
  const { download } = await import('../openai-import/download.js');
  const lost = await download({ url, apiKey }, folder, (text) => out.note(text));
  const lostText = lost.length === 0 ? '' : `; could not download ${lost.length} of the items`;
  out.note(`downloaded to ${folder}${lostText}`);
  return folder;
}
