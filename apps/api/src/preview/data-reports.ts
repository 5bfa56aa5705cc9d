import { Injectable } from '@nestjs/common';
import { DomainError, type Spec } from '@graft/contracts';
import { BlobStore } from '../blobs/blob-store.js';
import type { HfConfig } from '../catalog/plugins.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Model, type File } from '../database/entities/storage.js';
import { jsonbText } from '../database/jsonb.js';
import type { Refusal } from '../sandbox/confined-answer.js';
import { sha256 } from '../ids.js';
import { DataReader, ReaderFailure } from './data-reader.js';
import type {
  BaseConfig,
  DataReports as Reports,
  HeldOutOptions,
  ReportOptions,
} from './reader-protocol.js';
import { QueueFull, Turns, type WorkCaller } from './turns.js';

/** Increase it when reports change: stored reports of other versions are ignored. */
const VERSION = 4;
/** Number of cached reports, of some kilobytes each. Jobs are often submitted in series on the same data. */
const KEPT = 200;

export interface ReportRequest extends ReportOptions {
  readonly base: Model;
  readonly training: File;
  readonly validation: File | null;
}

type Outcome = { readonly reports: Reports } | { readonly refused: Refusal };

/** Reports on data for a base. The reader process computes each once; then it is stored. */
@Injectable()
export class DataReports {
  private readonly turns = new Turns();
  /** Cache that drops the oldest entry. Keys are hashes of contents, so entries never change. */
  private readonly cache = new Map<string, Outcome>();

  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly reader: DataReader,
    private readonly settings: Settings,
  ) {}

  /**
   * Caller of a preview or creation. Its deadline allows for reading the largest file, and for the same time
   * in the queue.
   */
  caller(project: string, gone?: AbortSignal): WorkCaller {
    const left = new AbortController();
    const abort = (): void => left.abort();
    setTimeout(abort, 2 * this.settings.readerMs).unref();
    gone?.addEventListener('abort', abort, { once: true });
    return { project, signal: left.signal };
  }

  /** Returns config.json of a base. Bases that were imported before it was stored are read now. */
  async config(base: Model, caller: WorkCaller): Promise<HfConfig> {
    if (base.config) return base.config;
    return this.turn(`config of ${base.id}`, caller, async () => {
      const config = await this.reader.ask<BaseConfig>(caller.project, {
        op: 'config',
        base: await this.files(base),
      });
      await this.database.manager.getRepository(Model).update(base.id, { config: config as never });
      return config;
    });
  }

  /**
   * Returns the number of tokens of each sample prompt.
   * @throws DomainError that names a prompt that the base cannot answer; ReaderFailure if it could not be
   * read
   */
  async promptTokens(
    base: Model,
    { sample_prompts: prompts }: Pick<Spec, 'sample_prompts'>,
    maxTokens: number,
    caller: WorkCaller,
  ): Promise<readonly number[]> {
    if (!prompts) return [];
    const key = `prompts of ${base.id} ${sha256(JSON.stringify([prompts, maxTokens]))}`;
    return this.turn(key, caller, async () =>
      this.reader.ask<number[]>(caller.project, {
        op: 'prompts',
        base: await this.files(base),
        prompts,
        maxTokens,
      }),
    );
  }

  /**
   * Returns the places of the records that a split holds out, from 0, not counting blank lines.
   * @throws DomainError for data that cannot be split; ReaderFailure if it could not be read
   */
  heldOut(file: File, options: HeldOutOptions, caller: WorkCaller): Promise<number[]> {
    const key = `held out ${sha256(JSON.stringify([file.sha256, options]))}`;
    return this.turn(key, caller, async () =>
      this.reader.ask<number[]>(caller.project, {
        op: 'held_out',
        base: [],
        training: await this.file(file),
        ...options,
      }),
    );
  }

  /** @throws DomainError that names lines that cannot be used; ReaderFailure if the data could not be read */
  async of(question: ReportRequest, caller: WorkCaller): Promise<Reports> {
    const key = keyOf(question);
    const outcome =
      (await this.stored(key)) ??
      (await this.turn(
        key,
        caller,
        // Another process may have read them in the meantime.
        async () => (await this.stored(key)) ?? (await this.read(question, key, caller.project)),
      ));
    if ('reports' in outcome) return outcome.reports;
    const { code, message, param } = outcome.refused;
    throw new DomainError(code, message, param);
  }

  private async turn<T>(key: string, caller: WorkCaller, work: () => Promise<T>): Promise<T> {
    try {
      return await this.turns.take(key, caller, work);
    } catch (error) {
      if (error instanceof QueueFull)
        throw new ReaderFailure(
          'too many files of this project are waiting to be read; try again later',
        );
      if (error !== caller.signal.reason) throw error;
      throw new ReaderFailure('files ahead of it in the queue took too long');
    }
  }

  private async stored(key: string): Promise<Outcome | undefined> {
    const cached = this.cache.get(key);
    if (cached) return cached;
    const [row] = await this.database.query<{ outcome: Outcome }>(
      'SELECT outcome FROM data_report WHERE key = $1',
      [key],
    );
    if (row) this.addToCache(key, row.outcome);
    return row?.outcome;
  }

  private addToCache(key: string, outcome: Outcome): void {
    const [oldest] = this.cache.keys();
    if (this.cache.size >= KEPT && oldest !== undefined) this.cache.delete(oldest);
    this.cache.set(key, outcome);
  }

  private async read(question: ReportRequest, key: string, project: string): Promise<Outcome> {
    const { base, training, validation, ...options } = question;
    const outcome = await this.reader
      .ask<Reports>(project, {
        op: 'report',
        base: await this.files(base),
        training: await this.file(training),
        validation: validation && (await this.file(validation)),
        ...options,
      })
      .then((reports): Outcome => ({ reports }))
      .catch((error: unknown): Outcome => {
        if (!(error instanceof DomainError)) throw error;
        const { code, message, param } = error;
        return { refused: { code, message, param } };
      });
    const text = jsonbText(outcome);
    await this.database.query(
      'INSERT INTO data_report (key, outcome) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING',
      [key, text],
    );
    // Returns the stored form, because a job stores it too.
    return JSON.parse(text) as Outcome;
  }

  /** Files of the base without the weights, which may be large and stored elsewhere. */
  private files(base: Model): Promise<{ name: string; path: string }[]> {
    const read = base.files.filter(({ name }) => !name.endsWith('.safetensors'));
    return Promise.all(
      read.map(async (file) => ({ name: file.name, path: await this.blobs.file(file) })),
    );
  }

  private async file({ sha256, bytes, records }: File): Promise<{ path: string; records: number }> {
    return { path: await this.blobs.file({ sha256, size: bytes }), records };
  }
}

/** Key of contents only, so that files that are uploaded or imported again keep their reports. */
function keyOf(question: ReportRequest): string {
  const { base, training, validation, task, taskOptions, maxSeqLen } = question;
  const { tasks, split, invocation } = question;
  const contents = base.files.map((file) => `${file.name}=${file.sha256}`).sort();
  const files = [training.sha256, validation?.sha256 ?? null];
  const more = [tasks, split, invocation && { invocation }].filter((one) => one !== null);
  return sha256(JSON.stringify([VERSION, contents, files, task, taskOptions, maxSeqLen, ...more]));
}
