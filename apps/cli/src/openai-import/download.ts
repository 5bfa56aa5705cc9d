import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import OpenAI, { APIConnectionError, APIError } from 'openai';
import { CliError, EXIT } from '../cli-error.js';
import { printable } from '../output/terminal.js';

export interface Source {
  /** Ends in /v1. */
  readonly url: string;
  readonly apiKey: string;
}

/** What is of use here, or worth keeping: answers of batches and files of assistants are neither. */
const PURPOSES: readonly string[] = ['fine-tune', 'fine-tune-results', 'evals'];
/** One thing that did not come whole; the others may. */
class NotWhole extends Error {}

/** In these states nothing about it changes any more. */
const ENDED: readonly string[] = ['succeeded', 'failed', 'cancelled', 'canceled', 'completed'];
/** Of a second try and more of one request, after the SDK's own. */
const RETRIES = 5;

/** A file's name of an id, whoever answers. */
const named = (id: string): string => id.replaceAll(/[^\w-]/g, '_');

/**
 * Files, jobs with their checkpoints and events, and evals with their runs and answers, of one project of OpenAI's,
 * in a folder that `find` reads. What is complete in the folder is not asked for again; a file that was interrupted
 * goes on where it was. Answers with what could not be had.
 */
export async function download(
  source: Source,
  folder: string,
  note: (text: string) => void,
): Promise<readonly string[]> {
  const client = new OpenAI({ apiKey: source.apiKey, baseURL: source.url, maxRetries: RETRIES });
  const lost: string[] = [];
  /** What is refused of one thing is no reason to leave the others. */
  const each = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof APIError || error instanceof NotWhole)) throw error;
      if (error instanceof APIConnectionError) throw reachable(error, source);
      if (error instanceof APIError && error.status === 401)
        throw new CliError(
          `${source.url} refuses the key in OPENAI_API_KEY: ${error.message}`,
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

function reachable(error: APIConnectionError, { url }: Source): CliError {
  const cause = error.cause as { code?: string; message?: string } | undefined;
  const reason = cause?.code ?? cause?.message ?? error.message;
  return new CliError(
    `the connection to ${url} failed (${reason}); run the command again to go on where it was`,
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
      await save(join(folder, `${named(file.id)}.json`), file);
      const path = join(folder, `${named(file.id)}${extname(file.filename) || '.jsonl'}`);
      if ((await sizeOf(path)) !== null) return;
      await content(client, file, path);
      note(`file ${file.id} ${printable(file.filename)}`);
    });
  }
}

/** Into `.part` beside it, from where that ends; it gets its name when it is whole. */
async function content(
  client: OpenAI,
  { id, bytes }: { id: string; bytes: number },
  path: string,
): Promise<void> {
  const part = `${path}.part`;
  const there = (await sizeOf(part)) ?? 0;
  const begun = there > 0 && there < bytes;
  const answer = await client.files.content(
    id,
    begun ? { headers: { range: `bytes=${there}-` } } : {},
  );
  const goesOn = begun && answer.status === 206;
  if (answer.body !== null)
    await pipeline(
      Readable.fromWeb(answer.body as import('node:stream/web').ReadableStream),
      createWriteStream(part, { flags: goesOn ? 'a' : 'w' }),
    ).catch((error: unknown) => {
      throw new APIConnectionError({ cause: error instanceof Error ? error : undefined });
    });
  const size = (await sizeOf(part)) ?? 0;
  if (size !== bytes) {
    await rm(part, { force: true });
    throw new NotWhole(
      `${size} bytes arrived, and OpenAI says that it has ${bytes}; run the command again`,
    );
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
      const path = join(folder, `${named(job.id)}.json`);
      if (await isEnded(path)) return;
      const of = client.fineTuning.jobs;
      await save(
        join(folder, `${named(job.id)}.checkpoints.json`),
        await all(of.checkpoints.list(job.id, { limit: 100 })),
      );
      await save(
        join(folder, `${named(job.id)}.events.json`),
        await all(of.listEvents(job.id, { limit: 100 })),
      );
      // Last: with this file, the others are there.
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
      await save(join(folder, `${named(one.id)}.json`), one);
      const runs = join(folder, named(one.id));
      await mkdir(runs, { recursive: true });
      for await (const run of client.evals.runs.list(one.id, { limit: 100 }))
        await each(`run ${run.id}`, async () => {
          const path = join(runs, `${named(run.id)}.json`);
          if (await isEnded(path)) return;
          const items = client.evals.runs.outputItems.list(run.id, { eval_id: one.id, limit: 100 });
          await save(join(runs, `${named(run.id)}.output_items.json`), await all(items));
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
  return text !== null && ENDED.includes((JSON.parse(text) as { status?: string }).status ?? '');
}
