import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EvalObject, EvalOutputItemObject, EvalRunObject } from '@graft/contracts';
import type { Command } from 'commander';
import { blobOf, type Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { comparison, evalCard, passed, runCard } from '../output/eval-card.js';
import { findModel } from '../find/find-model.js';
import { evalPath, findEval, findRun, runPath } from '../find/find-eval.js';
import { decimal, positiveInteger } from '../command-line/parse-number.js';
import { readBody, type Body } from '../requests/read-body.js';
import { ago, printable, table, type Output } from '../output/terminal.js';
import { GRAFT } from '../called.js';

export function addEvals(program: Command): void {
  const evals = program
    .command('evals')
    .description('Create and run evals, and compare their results');
  addLists(evals);
  addRuns(evals);
  addComparison(evals);
  evals
    .command('delete')
    .description('Delete evals with all their runs')
    .argument('<eval...>')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) {
        const { id } = await findEval(api(), name);
        const answer = await api().delete<unknown>(evalPath(id));
        if (out.json) out.value(answer);
        else out.line(`${id} deleted`);
      }
    });
}

function addLists(evals: Command): void {
  evals
    .command('list', { isDefault: true })
    .description('List evals, newest first')
    .option('-n, --limit <number>', 'maximum number to list', positiveInteger, 50)
    .action(async ({ limit }: { limit: number }, command: Command) => {
      const { out, api } = callOf(command);
      const found = await api().all<EvalObject>('/evals?order=desc', limit);
      if (out.json) return out.value(found);
      if (found.length === 0) return out.line(`no evals yet: ${GRAFT} evals create eval.json`);
      const rows = found.map((one) => [
        out.id(one.id),
        printable(one.name || '–'),
        printable(one.testing_criteria.map(({ name }) => name).join(', ')),
        ago(one.created_at),
      ]);
      out.line(table(['EVAL', 'NAME', 'GRADERS', 'AGE'], rows, { width: out.width }));
    });
  evals
    .command('show')
    .description('Show an eval and its runs')
    .argument('<eval>', 'eval by id or name')
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const one = await findEval(api(), name);
      const runs = await api().all<EvalRunObject>(`${evalPath(one.id)}/runs?order=desc`);
      if (out.json) out.value({ ...one, runs });
      else out.line(evalCard(one, runs, out));
    });
  evals
    .command('create')
    .description('Create an eval from a JSON file (body of POST /v1/evals)')
    .argument('<file>')
    .action(async (file: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const made = await api().post<EvalObject>('/evals', readBody(file, 'POST /v1/evals'));
      if (out.json) out.value(made);
      else out.line(`${made.id} ${printable(made.name)}`.trimEnd());
    });
}

interface RunOptions {
  readonly model?: string;
  readonly items?: string;
  readonly ask?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly name?: string;
  readonly watch?: boolean;
}

function addRuns(evals: Command): void {
  evals
    .command('run')
    .description('Run an eval from flags or a JSON request body')
    .argument('<eval>', 'eval by id or name')
    .argument('[file]', 'JSON request body, such as a draft of graft import-openai')
    .option('-m, --model <model>', 'model to evaluate, or job that made it; overrides the file')
    .option('--items <file>', 'JSON Lines of {"item": {…}}: local file or file id')
    .option('--ask <template>', 'prompt template for each item, e.g. "In capitals: {{item.word}}"')
    .option('--max-tokens <number>', 'maximum length of an answer in tokens', positiveInteger)
    .option('--temperature <number>', 'sampling temperature; 0 is greedy', decimal)
    .option('--name <name>', 'name of the run')
    .option('-w, --watch', 'show progress until the run ends')
    .action(
      async (name: string, file: string | undefined, options: RunOptions, command: Command) => {
        const { out, api } = callOf(command);
        const of = await findEval(api(), name);
        const body = await runBody(api(), file, options);
        const run = await api().post<EvalRunObject>(`${evalPath(of.id)}/runs`, body);
        if (options.watch === true) return watch(api(), run, out);
        if (out.json) out.value(run);
        else out.line(`${run.id} ${run.status}: ${run.result_counts.total} items`);
      },
    );
  evals
    .command('results')
    .description('Show the results of a run by grader and by item')
    .argument('<eval>', 'eval by id or name')
    .argument('<run>', 'run by id, name or model')
    .option('--status <status>', 'only items with this status: pass, fail or error')
    .option('-n, --limit <number>', 'maximum number of items', positiveInteger, 100)
    .action(async (name: string, which: string, options: ResultOptions, command: Command) => {
      const { out, api } = callOf(command);
      const run = await findRun(api(), await findEval(api(), name), which);
      const only =
        options.status === undefined ? '' : `?status=${encodeURIComponent(options.status)}`;
      const items = await itemsOf(api(), run, only, options.limit);
      if (out.json) out.value({ ...run, output_items: items });
      else out.line(runCard(run, items, out.width));
    });
  evals
    .command('cancel')
    .description('Cancel a run and keep its graded items')
    .argument('<eval>', 'eval by id or name')
    .argument('<run>')
    .action(async (name: string, which: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const run = await findRun(api(), await findEval(api(), name), which);
      const canceled = await api().post<EvalRunObject>(runPath(run));
      if (out.json) out.value(canceled);
      else out.line(`${canceled.id} ${canceled.status}`);
    });
}

interface ResultOptions {
  readonly status?: string;
  readonly limit: number;
}

function addComparison(evals: Command): void {
  evals
    .command('compare')
    .description('Compare two runs of an eval and the items that differ')
    .argument('<eval>', 'eval by id or name')
    .argument('<left>', 'run by id, name or model')
    .argument('<right>', 'run by id, name or model')
    .action(
      async (name: string, left: string, right: string, _options: unknown, command: Command) => {
        const { out, api } = callOf(command);
        const of = await findEval(api(), name);
        const runs = [await findRun(api(), of, left), await findRun(api(), of, right)] as const;
        const items = [await itemsOf(api(), runs[0]), await itemsOf(api(), runs[1])] as const;
        if (out.json) out.value(runs.map((run, n) => ({ ...run, output_items: items[n] })));
        else out.line(comparison(runs, items, out.width));
      },
    );
}

const itemsOf = (
  api: Api,
  run: EvalRunObject,
  query = '',
  limit = Infinity,
): Promise<EvalOutputItemObject[]> => api.all(`${runPath(run)}/output_items${query}`, limit);

/** Waits until the run ends. A run that waits for a worker may take long. */
async function watch(api: Api, run: EvalRunObject, out: Output): Promise<void> {
  let now = run;
  while (now.status === 'queued' || now.status === 'in_progress') {
    out.draw(`${now.status} ${passed(now)}`);
    await sleep(1000);
    now = await api.get<EvalRunObject>(runPath(run));
  }
  out.draw('');
  if (out.json) out.value(now);
  else out.line(runCard(now, [], out.width));
  if (now.status !== 'completed')
    throw new CliError(
      `the run ended as ${now.status}${now.error ? `: ${now.error.message}` : ''}`,
    );
}

async function runBody(api: Api, file: string | undefined, options: RunOptions): Promise<Body> {
  const given = file === undefined ? {} : readBody(file, 'POST /v1/evals/{id}/runs');
  const source = (given['data_source'] ?? {}) as Record<string, unknown>;
  const dataSource: Record<string, unknown> = { type: 'completions', ...source };
  if (options.model !== undefined) dataSource['model'] = await findModel(api, options.model);
  if (options.ask !== undefined)
    dataSource['input_messages'] = {
      type: 'template',
      template: [{ role: 'user', content: options.ask }],
    };
  if (options.items !== undefined)
    dataSource['source'] = { type: 'file_id', id: await itemsFile(api, options.items) };
  const { maxTokens, temperature } = options;
  if (maxTokens !== undefined || temperature !== undefined)
    dataSource['sampling_params'] = {
      ...(dataSource['sampling_params'] as object | undefined),
      ...(maxTokens !== undefined && { max_completion_tokens: maxTokens }),
      ...(temperature !== undefined && { temperature }),
    };
  if (
    file === undefined &&
    (options.items === undefined || options.model === undefined || options.ask === undefined)
  )
    throw new CliError('specify a FILE, or --model, --items and --ask', EXIT.usage);
  return {
    ...given,
    ...(options.name === undefined ? {} : { name: options.name }),
    data_source: dataSource,
  };
}

async function itemsFile(api: Api, given: string): Promise<string> {
  if (/^file-\w+$/.test(given)) return given;
  return (await api.uploadAs(await blobOf(given), basename(given), 'evals')).id;
}
