import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import OpenAI, { APIConnectionError, APIError } from 'openai';
import { CliError, EXIT } from '../cli-error.js';
import { printable } from '../output/terminal.js';

export interface Source {
  /** Base URL of the API; ends in /v1. */
  readonly url: string;
  readonly apiKey: string;
}

/** Purposes of files to download. Files of batches and assistants are not useful here. */
const PURPOSES: readonly string[] = ['fine-tune', 'fine-tune-results', 'evals'];

/** An item is incomplete. The download continues with the others. */
class IncompleteError extends Error {}

/** Final states of jobs and runs. */
const FINAL_STATES: readonly string[] = [
  'succeeded',
  'failed',
  'cancelled',
  'canceled',
  'completed',
];
/** Retries of a request by the SDK. */
const RETRIES = 5;

/** Safe file name for an id. The server chooses the id, so it is not trusted. */
const fileNameOf = (id: string): string => id.replaceAll(/[^\w-]/g, '_');

/**
 * Downloads the files, jobs (with checkpoints and events) and evals (with runs and answers) of one OpenAI project to a
 * folder that `find` reads. Skips complete items, and resumes interrupted files.
 * @returns messages about the items that could not be downloaded
 */
export async function download(
  source: Source,
  folder: string,
  note: (text: string) => void,
): Promise<readonly string[]> {
  const client = new OpenAI({ apiKey: source.apiKey, baseURL: source.url, maxRetries: RETRIES });
  const lost: string[] = [];
  /** Runs `work` and records a failure, so that the other items are still downloaded. */
  const each = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof APIError || error instanceof IncompleteError)) throw error;
      if (error instanceof APIConnectionError) throw unreachable(error, source);
      if (error instanceof APIError && error.status === 401)
        throw new CliError(
          `${source.url} rejected the key in OPENAI_API_KEY: ${error.message}`,
          EXIT.failed,
        );
      const line = `${what}: ${printable(error.message)}`;
      lost.push(line);
      note(line);
    }
  };
  await each('files', () => files(client, join(folder, 'files'), note, each));
  await each('jobs', () => jobs(client, join(folder, 'jobs'), note, each));
  await each('evals', () => evals(client, join(folder, 'evals'), note, each));
  return lost;
}

type Each = (what: string, work: () => Promise<void>) => Promise<void>;

function unreachable(error: APIConnectionError, { url }: Source): CliError {
  const cause = error.cause as { code?: string; message?: string } | undefined;
  const reason = cause?.code ?? cause?.message ?? error.message;
  return new CliError(
    `the connection to ${url} failed (${reason}); run the command again to resume`,
    EXIT.unreachable,
  );
}

async function files(
  client: OpenAI,
  folder: string,
  note: (text: string) => void,
  each: Each,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for await (const file of client.files.list({ limit: 10_000 })) {
    if (!PURPOSES.includes(file.purpose)) continue;
    await each(`file ${file.id}`, async () => {
      await save(join(folder, `${fileNameOf(file.id)}.json`), file);
      const path = join(folder, `${fileNameOf(file.id)}${extname(file.filename) || '.jsonl'}`);
      if ((await sizeOf(path)) !== null) return;
      await content(client, file, path);
      note(`file ${file.id} ${printable(file.filename)}`);
    });
  }
}

/** Downloads a file to PATH.part, resuming if that exists, and renames it when it is complete. */
async function content(
  client: OpenAI,
  { id, bytes }: { id: string; bytes: number },
  path: string,
): Promise<void> {
  const part = `${path}.part`;
  const present = (await sizeOf(part)) ?? 0;
  const isPartial = present > 0 && present < bytes;
  const answer = await client.files.content(
    id,
    isPartial ? { headers: { range: `bytes=${present}-` } } : {},
  );
  const isResumed = isPartial && answer.status === 206;
  if (answer.body !== null)
    await pipeline(
      Readable.fromWeb(answer.body as import('node:stream/web').ReadableStream),
      createWriteStream(part, { flags: isResumed ? 'a' : 'w' }),
    ).catch((error: unknown) => {
      throw new APIConnectionError({ cause: error instanceof Error ? error : undefined });
    });
  const size = (await sizeOf(part)) ?? 0;
  if (size !== bytes) {
    await rm(part, { force: true });
    throw new IncompleteError(`expected ${bytes} bytes, got ${size}; run the command again`);
  }
  await rename(part, path);
}

async function jobs(
  client: OpenAI,
  folder: string,
  note: (text: string) => void,
  each: Each,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for await (const job of client.fineTuning.jobs.list({ limit: 100 }))
    await each(`job ${job.id}`, async () => {
      const path = join(folder, `${fileNameOf(job.id)}.json`);
      if (await isEnded(path)) return;
      const of = client.fineTuning.jobs;
      await save(
        join(folder, `${fileNameOf(job.id)}.checkpoints.json`),
        await all(of.checkpoints.list(job.id, { limit: 100 })),
      );
      await save(
        join(folder, `${fileNameOf(job.id)}.events.json`),
        await all(of.listEvents(job.id, { limit: 100 })),
      );
      // Saved last: this file marks the others as complete.
      await save(path, job);
      note(`job ${job.id}`);
    });
}

async function evals(
  client: OpenAI,
  folder: string,
  note: (text: string) => void,
  each: Each,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for await (const one of client.evals.list({ limit: 100 }))
    await each(`eval ${one.id}`, async () => {
      await save(join(folder, `${fileNameOf(one.id)}.json`), one);
      const runs = join(folder, fileNameOf(one.id));
      await mkdir(runs, { recursive: true });
      for await (const run of client.evals.runs.list(one.id, { limit: 100 }))
        await each(`run ${run.id}`, async () => {
          const path = join(runs, `${fileNameOf(run.id)}.json`);
          if (await isEnded(path)) return;
          const items = client.evals.runs.outputItems.list(run.id, { eval_id: one.id, limit: 100 });
          await save(join(runs, `${fileNameOf(run.id)}.output_items.json`), await all(items));
          await save(path, run);
          note(`run ${run.id}`);
        });
      note(`eval ${one.id}`);
    });
}

async function all<T>(
  pages: AsyncIterable<T>,
): Promise<{ readonly object: 'list'; readonly data: T[] }> {
  const data: T[] = [];
  for await (const one of pages) data.push(one);
  return { object: 'list', data };
}

async function save(path: string, value: unknown): Promise<void> {
  await writeFile(`${path}.part`, `${JSON.stringify(value, null, 2)}\n`);
  await rename(`${path}.part`, path);
}

const sizeOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ size }) => size,
    () => null,
  );

async function isEnded(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => null);
  return (
    text !== null && FINAL_STATES.includes((JSON.parse(text) as { status?: string }).status ?? '')
  );
}
