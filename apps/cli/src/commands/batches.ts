import { basename } from 'node:path';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BatchObject } from '@graft/contracts';
import type { Command } from 'commander';
import { blobOf, type Api } from '../client/api.js';
import { saveFile } from '../client/save-file.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { findFile } from '../find/find-file.js';
import { batchPath, findBatch } from '../find/find-batch.js';
import { ago, printable, table, type Output } from '../output/terminal.js';
import { GRAFT } from '../called.js';

const BATCH_HELP = 'batch by id or prefix of the id';
const ENDED = ['completed', 'failed', 'expired', 'cancelled'];

export function addBatches(program: Command): void {
  const batches = program
    .command('batches')
    .description('Answer the requests of a file in the background');
  addLists(batches);
  batches
    .command('create')
    .description('Create a batch of the requests in a JSON Lines file')
    .argument('<file>', 'one object with custom_id, method, url and body per line')
    .option('--window <time>', 'time after which it expires, from 1h to 30d', '24h')
    .option('-w, --watch', 'show progress until the batch ends')
    .action(async (file: string, options: CreateOptions, command: Command) => {
      const { out, api } = callOf(command);
      const endpoint = await endpointOf(file);
      const { id } = await api().uploadAs(await blobOf(file), basename(file), 'batch');
      const batch = await api().post<BatchObject>('/batches', {
        input_file_id: id,
        endpoint,
        completion_window: options.window,
      });
      if (options.watch === true) return watch(api(), batch, out);
      if (out.json) out.value(batch);
      else out.line(`${batch.id} ${batch.status}`);
    });
  batches
    .command('results')
    .description('Download the answers of a batch (-o - writes to stdout)')
    .argument('<batch>', BATCH_HELP)
    .option('--errors', 'requests that failed, expired or were cancelled instead')
    .option('-o, --out <path>', 'file to write (default: its name)')
    .action(async (name: string, options: ResultOptions, command: Command) => {
      const { out, api } = callOf(command);
      const batch = await findBatch(api(), name);
      const file = options.errors ? batch.error_file_id : batch.output_file_id;
      if (file === null)
        throw new CliError(
          ENDED.includes(batch.status)
            ? `the batch has no ${options.errors ? 'errors' : 'answers'}: ${progress(batch)}`
            : `the batch is ${batch.status}; wait until it has ended`,
        );
      const found = await findFile(api(), file);
      const path = await saveFile(api(), found, options.out ?? basename(found.filename));
      if (path !== null) out.note(`saved ${path}`);
    });
  batches
    .command('cancel')
    .description('Cancel a batch and keep its answers so far')
    .argument('<batch>', BATCH_HELP)
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const { id } = await findBatch(api(), name);
      const cancelled = await api().post<BatchObject>(`${batchPath(id)}/cancel`);
      if (out.json) out.value(cancelled);
      else out.line(`${id} ${cancelled.status}`);
    });
}

interface CreateOptions {
  readonly window: string;
  readonly watch?: boolean;
}

interface ResultOptions {
  readonly errors?: boolean;
  readonly out?: string;
}

function addLists(batches: Command): void {
  batches
    .command('list', { isDefault: true })
    .description('List batches, newest first')
    .option('-n, --limit <number>', 'maximum number to list', positiveInteger, 50)
    .action(async ({ limit }: { limit: number }, command: Command) => {
      const { out, api } = callOf(command);
      const found = await api().all<BatchObject>('/batches', limit);
      if (out.json) return out.value(found);
      if (found.length === 0)
        return out.line(`no batches yet: ${GRAFT} batches create requests.jsonl`);
      const rows = found.map((one) => [
        out.id(one.id),
        one.status,
        progress(one),
        printable(one.model ?? '–'),
        one.endpoint,
        ago(one.created_at),
      ]);
      const details = found.map(({ graft }) => graft.waits_for);
      out.line(
        table(['BATCH', 'STATUS', 'REQUESTS', 'MODEL', 'ENDPOINT', 'AGE'], rows, {
          width: out.width,
          details,
          optional: ['ENDPOINT', 'AGE'],
        }),
      );
    });
  batches
    .command('show')
    .description('Show the progress, problems and files of a batch')
    .argument('<batch>', BATCH_HELP)
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const batch = await findBatch(api(), name);
      if (out.json) out.value(batch);
      else out.line(batchCard(batch));
    });
}

function progress({ request_counts: { total, completed, failed } }: BatchObject): string {
  const done = `${completed} of ${total} answered`;
  return failed > 0 ? `${done}, ${failed} failed` : done;
}

function batchCard(batch: BatchObject): string {
  const { graft, errors, usage } = batch;
  const lines = [
    `${batch.id} ${batch.status}`,
    `requests  ${progress(batch)}`,
    `tokens    ${usage.input_tokens} read, ${usage.output_tokens} generated`,
    `endpoint  ${batch.endpoint}`,
    `files     ${[batch.input_file_id, batch.output_file_id, batch.error_file_id].filter((id) => id !== null).join(' ')}`,
    ...(graft.waits_for === null ? [] : [`waits for ${printable(graft.waits_for)}`]),
    ...(errors?.data ?? []).map(
      ({ line, message }) => `${line === null ? 'file' : `line ${line}`}: ${printable(message)}`,
    ),
  ];
  return lines.join('\n');
}

/** Returns the endpoint of the first request. The API checks that the others have the same. */
async function endpointOf(path: string): Promise<string> {
  await blobOf(path);
  const file = await open(path);
  try {
    for await (const line of file.readLines()) {
      if (line.trim() === '') continue;
      const first = JSON.parse(line) as { url?: unknown } | null;
      if (typeof first?.url === 'string') return first.url;
      break;
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  } finally {
    await file.close();
  }
  throw new CliError(
    `${path}: expected requests of a batch, such as {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {…}}`,
    EXIT.usage,
  );
}

/** Waits until the batch ends. */
async function watch(api: Api, batch: BatchObject, out: Output): Promise<void> {
  let now = batch;
  while (!ENDED.includes(now.status)) {
    out.draw([now.status, progress(now), now.graft.waits_for ?? ''].join(' ').trimEnd());
    await sleep(1000);
    now = await api.get<BatchObject>(batchPath(now.id));
  }
  out.draw('');
  if (out.json) out.value(now);
  else out.line(batchCard(now));
  if (now.status !== 'completed') throw new CliError(`the batch ended as ${now.status}`);
}
