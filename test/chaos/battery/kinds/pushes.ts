// Pushes of adapters to a hub that fails at random, before or after it did its work. Some clients disconnect
// early.
import { createHash, randomUUID } from 'node:crypto';
import type { Violation } from '../checker.js';
import type { Cluster } from '../cluster.js';
import { HUB_TOKEN, type SlowHub } from '../slow-hub.js';
import { pause, TRIES, type Kind, type Place } from './kind.js';

/**
 * Response timeout in milliseconds: longer than the faults, and longer than the API waits for a silent hub.
 */
const ANSWER_MS = 120_000;

/** SHA-256 by file name. */
export type Pushed = Readonly<Record<string, string>>;

/** One request, and the results in its response. A broken response may contain none. */
export interface PushTry {
  readonly ends: readonly ('succeeded' | 'failed')[];
  /** Whether the response was complete. */
  readonly isWhole: boolean;
  /** `bytes_sent` of a success. */
  readonly bytes: number | null;
}

/** Pushes of one model to one repository. */
export interface Push {
  readonly repo: string;
  readonly model: string;
  readonly tries: readonly PushTry[];
}

export interface ModelFiles {
  readonly files: Pushed;
  readonly bytes: number;
}

export interface PushEvidence {
  readonly pushes: readonly Push[];
  readonly models: Readonly<Record<string, ModelFiles>>;
  readonly commits: readonly { readonly repo: string; readonly files: Pushed }[];
  /** Repositories in the audit log, one entry per push. */
  readonly noted: readonly string[];
}

/**
 * Each push ends once. Each success is a commit, each commit has all files of the model, and the audit log
 * has each commit.
 */
export function* checkPushes({
  pushes,
  models,
  commits,
  noted,
}: PushEvidence): Generator<[subject: string, what: string]> {
  for (const { repo } of commits)
    if (!pushes.some((push) => push.repo === repo)) yield [repo, 'has a commit without a push'];
  for (const { repo, model, tries } of pushes) {
    const expected = models[model];
    for (const { ends, isWhole, bytes } of tries) {
      if (ends.length > 1 || (isWhole && ends.length === 0))
        yield [repo, `one push ended ${ends.length} times`];
      if (bytes !== null && bytes !== expected?.bytes)
        yield [repo, `succeeded with ${bytes} bytes of ${expected?.bytes}`];
    }
    const own = commits.filter((commit) => commit.repo === repo);
    const succeeded = tries.filter(({ ends }) => ends.includes('succeeded')).length;
    if (own.length < succeeded) yield [repo, `succeeded ${succeeded} times, but has ${own.length} commits`]; // prettier-ignore
    if (own.length > tries.length) yield [repo, `has ${own.length} commits after ${tries.length} pushes`]; // prettier-ignore
    for (const { files } of own)
      if (listOf(files) !== listOf(expected?.files ?? {}))
        yield [repo, `has ${listOf(files)}, but ${model} has ${listOf(expected?.files ?? {})}`];
    const notes = noted.filter((one) => one === repo).length;
    if (notes < own.length || notes > tries.length)
      yield [
        repo,
        `has ${own.length} commits after ${tries.length} pushes, and ${notes} audit entries`,
      ];
  }
}

const listOf = (files: Pushed): string => JSON.stringify(Object.entries(files).sort());

/** Files of each model as a download contains them. */
const FILES = `
  SELECT model.id, sum(part.bytes)::float8 AS bytes, json_object_agg(part.name, part.sha256) AS files FROM model, LATERAL (
    SELECT one->>'name' AS name, one->>'sha256' AS sha256, (one->>'size')::float8 AS bytes
      FROM jsonb_array_elements(model.files) AS one
    UNION ALL SELECT filename, sha256, bytes::float8 FROM file
      WHERE file.job_id = model.job_id AND filename = 'metrics.csv' AND purpose = 'fine-tune-results') AS part
  GROUP BY model.id`;

const NOTED = `SELECT detail->>'repo' AS repo FROM audit WHERE action = 'model.pushed'`;

export class Pushes implements Kind {
  readonly name = 'pushes';
  private readonly pushes: Push[] = [];

  constructor(private readonly hub: SlowHub) {}

  listen({ random }: Place): Promise<void> {
    const fail = async (): Promise<void> => {
      await pause(random.between(0, 100));
      if (random.next() < 0.02) throw new Error('the hub failed');
    };
    Object.assign(this.hub.pushed, { asked: fail, done: fail });
    return Promise.resolve();
  }

  async act(place: Place): Promise<void> {
    const repo = `battery/${randomUUID()}`;
    const model = place.random.of(place.adapters);
    const tries: PushTry[] = [];
    this.pushes.push({ repo, model, tries });
    while (tries.length < TRIES) {
      const attempt = await push(place, repo, model);
      tries.push(attempt);
      if (attempt.ends.includes('succeeded')) return;
      await pause(500);
    }
  }

  heal(): void {
    Object.assign(this.hub.pushed, { asked: () => undefined, done: () => undefined });
  }

  /** Empty: a push ends with its request. */
  open(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async look({ cluster }: Place): Promise<Violation[]> {
    const { pushes } = this;
    const noted = (await cluster.query<{ repo: string }>(NOTED)).map(({ repo }) => repo);
    const models = await filesOfModels(cluster);
    const commits = this.hub.pushed.commits.map(({ repo, files }) => ({
      repo,
      files: Object.fromEntries([...files].map(([name, content]) => [name, hashOf(content)])),
    }));
    return [...checkPushes({ pushes, models, commits, noted })].map(([subject, what]) => ({
      invariant: 'I22',
      subject,
      what,
    }));
  }

  counts(): Record<string, number> {
    const tries = this.pushes.flatMap((push) => push.tries);
    const count = (wanted: PushTry['ends'][number] | undefined): number =>
      tries.filter(({ ends }) => ends[0] === wanted).length;
    return {
      'pushes succeeded': count('succeeded'),
      'pushes failed': count('failed'),
      'pushes broken off': count(undefined),
      'commits of pushes': this.hub.pushed.commits.length,
    };
  }
}

const hashOf = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

async function filesOfModels(cluster: Cluster): Promise<Record<string, ModelFiles>> {
  const rows = await cluster.query<ModelFiles & { id: string }>(FILES);
  return Object.fromEntries(rows.map(({ id, files, bytes }) => [id, { files, bytes }]));
}

/** JSON body of a response, or of one event in a stream. */
interface Said {
  readonly status?: string;
  readonly bytes_sent?: number;
  readonly error?: object;
}

/** Pushes once, with a JSON response or a stream. Some requests are aborted early. */
async function push({ cluster, random }: Place, repo: string, model: string): Promise<PushTry> {
  const stream = random.next() < 0.5;
  const leaves = random.next() < 0.15;
  const limit = AbortSignal.timeout(leaves ? Math.round(random.between(0, 400)) : ANSWER_MS);
  let text = '';
  try {
    const response = await fetch(`${random.of(cluster.apis).url}/v1/models/${model}/push`, {
      method: 'POST',
      headers: { ...cluster.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ repo, token: HUB_TOKEN, stream }),
      signal: limit,
    });
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) text += piece;
    const { status } = response;
    if (status >= 400 && status < 500) throw Object.assign(new Error(text), { status });
  } catch (error) {
    if ((error as { status?: number }).status !== undefined) throw error;
    // The response never ended.
    if (limit.aborted && !leaves) return { ends: [], isWhole: true, bytes: null };
    return tryOf(text, false);
  }
  return tryOf(text, true);
}

function tryOf(text: string, isWhole: boolean): PushTry {
  const isStream = /^(data|:)/.test(text);
  // A broken response may end in the middle of an event.
  const events = isStream
    ? [...text.matchAll(/^data: (\{.*\})\n\n/gm)].map(([, event = '']) => event)
    : isWhole
      ? [text]
      : [];
  const said = events.map((event) => JSON.parse(event) as Said);
  const ends = said.flatMap(({ status, error }): PushTry['ends'] =>
    error ? ['failed'] : status === 'succeeded' ? ['succeeded'] : [],
  );
  const bytes = said.find(({ status }) => status === 'succeeded')?.bytes_sent ?? null;
  return {
    ends,
    bytes,
    isWhole: isWhole && (!isStream || text.endsWith('data: [DONE]\n\n')),
  };
}
