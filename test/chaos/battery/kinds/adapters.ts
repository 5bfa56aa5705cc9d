// Uploads of adapters, as two files or as a zip, some with bytes that are already stored, some over
// connections that break.
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { downloadZip } from 'client-zip';
import type { Violation } from '../checker.js';
import type { Cluster } from '../cluster.js';
import { cut, type Part } from '../cut.js';
import { ask, insist, isRefusal, pause, TRIES, type Kind, type Place } from './kind.js';

const NAMES = ['adapter_config.json', 'adapter_model.safetensors'] as const;

export interface StoredFile {
  readonly name: string;
  readonly size: number;
  /** SHA-256 of the content; null if the file is missing. */
  readonly sha256: string | null;
}

/** Upload under one suffix, and its result. */
export interface SentAdapter {
  readonly suffix: string;
  readonly files: readonly StoredFile[];
  /**
   * `finished`: the API confirmed it. `unfinished`: the client never sent everything. `unknown`: it sent
   * everything and received no confirmation.
   */
  readonly outcome: 'finished' | 'unfinished' | 'unknown';
  /** Id of the model in the API's response. */
  readonly id: string | null;
  /** Number of complete requests. */
  readonly times: number;
}

export interface UploadedModel {
  readonly id: string;
  readonly files: readonly StoredFile[];
}

export interface AdapterEvidence {
  readonly sent: readonly SentAdapter[];
  readonly models: readonly UploadedModel[];
  /** Ids in the list of models, over all pages. */
  readonly listed: readonly string[];
}

/**
 * Each model has the bytes that were sent and is listed once. Each finished upload is a model; no unfinished
 * one is.
 */
export function* checkAdapters({
  sent,
  models,
  listed,
}: AdapterEvidence): Generator<[subject: string, what: string]> {
  for (const { suffix, files, outcome, id, times } of sent) {
    const own = models.filter((model) => suffixOf(model.id) === suffix);
    for (const model of own) {
      if (listOf(model.files) !== listOf(files))
        yield [model.id, `has ${listOf(model.files)}, but ${listOf(files)} was sent`];
      const count = listed.filter((one) => one === model.id).length;
      if (count !== 1) yield [model.id, `is listed ${count} times`];
    }
    if (outcome === 'unfinished' && own.length > 0)
      yield [suffix, `was not finished, but is ${own.length} models`];
    if (own.length > times) yield [suffix, `is ${own.length} models after ${times} requests`];
    if (outcome === 'finished' && !own.some((model) => model.id === id))
      yield [suffix, `was acknowledged as ${id}, but is missing`];
  }
}

const suffixOf = (id: string): string | undefined => id.split(':')[3];

const listOf = (files: readonly StoredFile[]): string =>
  JSON.stringify(files.map(({ name, size, sha256 }) => [name, size, sha256]).sort());

const hashOf = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

/** Contents by file name. */
type Contents = ReadonlyMap<string, Buffer>;
type Fields = Readonly<Record<string, string>>;
type Came = Pick<SentAdapter, 'outcome' | 'id' | 'times'>;

export class Adapters implements Kind {
  readonly name = 'adapters';
  private readonly sent: SentAdapter[] = [];
  /** Files of the adapters from control runs. */
  private made: readonly Contents[] = [];

  async begin({ cluster, adapters }: Place): Promise<void> {
    const rows = await cluster.query<{ files: readonly { name: string; sha256: string }[] }>(
      'SELECT files FROM model WHERE id = ANY ($1)',
      [adapters],
    );
    const contentOf = (files: (typeof rows)[number]['files'], wanted: string): Buffer =>
      readFileSync(blobPath(cluster, files.find(({ name }) => name === wanted)?.sha256 ?? ''));
    this.made = rows.map(
      ({ files }) => new Map(NAMES.map((name) => [name, contentOf(files, name)])),
    );
  }

  async act(place: Place): Promise<void> {
    if (place.random.next() < 0.4) await this.one(place, sendUntilCut);
    await this.one(place, sendWhole);
  }

  open(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async look(place: Place): Promise<Violation[]> {
    const models = await uploadedModels(place.cluster);
    const listed = await listedModels(place);
    return [...checkAdapters({ sent: this.sent, models, listed })].map(([subject, what]) => ({
      invariant: 'I21',
      subject,
      what,
    }));
  }

  counts(): Record<string, number> {
    const count = (wanted: SentAdapter['outcome']): number =>
      this.sent.filter(({ outcome }) => outcome === wanted).length;
    return {
      'adapters taken': count('finished'),
      'adapters unfinished': count('unfinished'),
      'adapters unknown': count('unknown'),
    };
  }

  private async one(
    place: Place,
    send: (place: Place, fields: Fields, parts: readonly Part[]) => Promise<Came>,
  ): Promise<void> {
    const { random } = place;
    const suffix = `battery-${randomUUID().slice(0, 8)}`;
    const made = random.of(this.made);
    const contents = random.next() < 0.5 ? made : withOtherWeights(made, suffix);
    const files = [...contents].map(([name, content]) => ({
      name,
      size: content.length,
      sha256: hashOf(content),
    }));
    const fields = { model: place.training.model, suffix };
    const parts = random.next() < 0.4 ? [await zipped(contents)] : partsOf(contents);
    this.sent.push({ suffix, files, ...(await send(place, fields, parts)) });
  }
}

/** Returns the same files, with the last bits of the first f32 weights changed. */
function withOtherWeights(contents: Contents, token: string): Contents {
  const [, weights] = NAMES;
  const copy = Buffer.from(contents.get(weights) ?? []);
  const data = 8 + Number(copy.readBigUInt64LE());
  for (const [n, byte] of Buffer.from(token).entries()) copy[data + 4 * n] = byte;
  return new Map([...contents, [weights, copy]]);
}

const partsOf = (contents: Contents): Part[] =>
  [...contents].map(([filename, content]) => ({ name: 'file', filename, content }));

async function zipped(contents: Contents): Promise<Part> {
  const entries = [...contents].map(([name, input]) => ({ name: `adapter/${name}`, input }));
  const content = Buffer.from(await downloadZip(entries).arrayBuffer());
  return { name: 'file', filename: 'adapter.zip', content };
}

async function sendUntilCut(place: Place, fields: Fields, parts: readonly Part[]): Promise<Came> {
  await cut(place, '/adapters', fields, parts);
  return { outcome: 'unfinished', id: null, times: 0 };
}

async function sendWhole(place: Place, fields: Fields, parts: readonly Part[]): Promise<Came> {
  for (let times = 1; times <= TRIES; times++) {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    for (const { name, filename, content } of parts)
      body.append(name, new File([new Uint8Array(Buffer.from(content))], filename));
    try {
      const { id = null } = await ask(place, { method: 'POST', path: '/adapters', body });
      return { outcome: 'finished', id, times };
    } catch (error) {
      if (isRefusal(error)) throw error;
    }
    await pause(500);
  }
  return { outcome: 'unknown', id: null, times: TRIES };
}

const blobPath = (cluster: Cluster, sha256: string): string =>
  join(cluster.blobs, sha256.slice(0, 2), sha256);

/** Models without a job. */
async function uploadedModels(cluster: Cluster): Promise<UploadedModel[]> {
  const rows = await cluster.query<{ id: string; files: readonly { name: string; size: number; sha256: string }[] }>(
    `SELECT id, files FROM model WHERE id LIKE 'ft:%:battery-%'`,
  ); // prettier-ignore
  return rows.map(({ id, files }) => ({
    id,
    files: files.map(({ name, size, sha256 }) => {
      const path = blobPath(cluster, sha256);
      return { name, size, sha256: existsSync(path) ? hashOf(readFileSync(path)) : null };
    }),
  }));
}

interface ModelPage {
  readonly data: readonly { readonly id: string }[];
  readonly has_more: boolean;
}

async function listedModels(place: Place): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const after = ids.at(-1);
    const query = after === undefined ? '' : `&after=${encodeURIComponent(after)}`;
    const page = await insist<ModelPage>(place, { path: `/models?limit=10${query}` });
    ids.push(...(page?.data ?? []).map(({ id }) => id));
    if (!page?.has_more) return ids;
  }
}
