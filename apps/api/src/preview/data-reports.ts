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
import type { BaseConfig, DataReports as Reports, ReportOptions } from './reader-protocol.js';
import { TooManyWaiting, Turns, type Asker } from './turns.js';

/** Raised when a report would come out otherwise: what is stored then no longer counts. */
const VERSION = 4;
/** Reports in memory, some kilobytes each: jobs are submitted in series on the same data. */
const KEPT = 200;

export interface ReportQuestion extends ReportOptions {
  readonly base: Model;
  readonly training: File;
  readonly validation: File | null;
}

type Outcome = { readonly reports: Reports } | { readonly refused: Refusal };

/** What data are for a base. Read once by the reader process, then looked up. */
@Injectable()
export class DataReports {
  private readonly turns = new Turns();
  /** Those that were looked up last. A key is of contents: what is under it does not change. */
  private readonly kept = new Map<string, Outcome>();

  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly reader: DataReader,
    private readonly settings: Settings,
  ) {}

  /** For a preview or creation, which may take as long as reading the largest file and waiting as long for others. */
  asker(project: string, gone?: AbortSignal): Asker {
    const left = new AbortController();
    const abort = (): void => left.abort();
    setTimeout(abort, 2 * this.settings.readerMs).unref();
    gone?.addEventListener('abort', abort, { once: true });
    return { project, signal: left.signal };
  }

  /** The base's config.json, for those that were imported before it was stored, too. */
  async config(base: Model, asker: Asker): Promise<HfConfig> {
    if (base.config) return base.config;
    return this.turn(`config of ${base.id}`, asker, async () => {
      const config = await this.reader.ask<BaseConfig>(asker.project, {
        op: 'config',
        base: await this.files(base),
      });
      await this.database.manager.getRepository(Model).update(base.id, { config: config as never });
      return config;
    });
  }

  /**
   * How many tokens each sample prompt has.
   * @throws DomainError naming the one that the base cannot be asked; ReaderFailure when that could not be found out
   */
  async promptTokens(
    base: Model,
    { sample_prompts: prompts }: Pick<Spec, 'sample_prompts'>,
    maxTokens: number,
    asker: Asker,
  ): Promise<readonly number[]> {
    if (!prompts) return [];
    const key = `prompts of ${base.id} ${sha256(JSON.stringify([prompts, maxTokens]))}`;
    return this.turn(key, asker, async () =>
      this.reader.ask<number[]>(asker.project, {
        op: 'prompts',
        base: await this.files(base),
        prompts,
        maxTokens,
      }),
    );
  }

  /** @throws DomainError naming the lines that cannot be used; ReaderFailure when that could not be found out */
  async of(question: ReportQuestion, asker: Asker): Promise<Reports> {
    const key = keyOf(question);
    const outcome =
      (await this.stored(key)) ??
      (await this.turn(
        key,
        asker,
        // Somebody else may have read them meanwhile.
        async () => (await this.stored(key)) ?? (await this.read(question, key, asker.project)),
      ));
    if ('reports' in outcome) return outcome.reports;
    const { code, message, param } = outcome.refused;
    throw new DomainError(code, message, param);
  }

  private async turn<T>(key: string, asker: Asker, work: () => Promise<T>): Promise<T> {
    try {
      return await this.turns.take(key, asker, work);
    } catch (error) {
      if (error instanceof TooManyWaiting)
        throw new ReaderFailure(
          'too many files of this project are waiting to be read; try again later',
        );
      if (error !== asker.signal.reason) throw error;
      throw new ReaderFailure('files ahead of it in the queue took too long');
    }
  }

  private async stored(key: string): Promise<Outcome | undefined> {
    const kept = this.kept.get(key);
    if (kept) return kept;
    const [row] = await this.database.query<{ outcome: Outcome }>(
      'SELECT outcome FROM data_report WHERE key = $1',
      [key],
    );
    if (row) this.keep(key, row.outcome);
    return row?.outcome;
  }

  private keep(key: string, outcome: Outcome): void {
    const [oldest] = this.kept.keys();
    if (this.kept.size >= KEPT && oldest !== undefined) this.kept.delete(oldest);
    this.kept.set(key, outcome);
  }

  private async read(question: ReportQuestion, key: string, project: string): Promise<Outcome> {
    const { base, training, validation, ...asked } = question;
    const outcome = await this.reader
      .ask<Reports>(project, {
        op: 'report',
        base: await this.files(base),
        training: await this.file(training),
        validation: validation && (await this.file(validation)),
        ...asked,
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
    // A job stores it, too.
    return JSON.parse(text) as Outcome;
  }

  /** Without the weights, which may lie elsewhere and be large. */
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

/** By contents alone, so that neither a new upload of the same file nor a base imported anew is taken for another. */
function keyOf(question: ReportQuestion): string {
  const { base, training, validation, task, taskOptions, maxSeqLen } = question;
  const { tasks, split, invocation } = question;
  const contents = base.files.map((file) => `${file.name}=${file.sha256}`).sort();
  const files = [training.sha256, validation?.sha256 ?? null];
  const more = [tasks, split, invocation && { invocation }].filter((one) => one !== null);
  return sha256(JSON.stringify([VERSION, contents, files, task, taskOptions, maxSeqLen, ...more]));
}
