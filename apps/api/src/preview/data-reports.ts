import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import { BlobStore } from '../blobs/blob-store.js';
import type { HfConfig } from '../catalog/plugins.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Model, StoredReport, type File } from '../database/entities/storage.js';
import { jsonbText } from '../database/jsonb.js';
import { sha256 } from '../ids.js';
import { DataReader, ReaderFailure } from './data-reader.js';
import type { BaseConfig, DataReports as Reports, Refusal } from './reader-protocol.js';
import { TooManyWaiting, Turns, type Asker } from './turns.js';

/** Raised when a report would come out otherwise: what is stored then no longer counts. */
const VERSION = 2;

export interface ReportQuestion {
  readonly base: Model;
  readonly training: File;
  readonly validation: File | null;
  readonly task: string;
  readonly maxSeqLen: number;
}

type Outcome = { readonly reports: Reports } | { readonly refused: Refusal };

/** What data are for a base. Read once by the reader process, then looked up. */
@Injectable()
export class DataReports {
  private readonly turns = new Turns();

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
      const config = await this.reader.ask<BaseConfig>({ op: 'config', base: this.files(base) });
      await this.database.manager.getRepository(Model).update(base.id, { config: config as never });
      return config;
    });
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
        async () => (await this.stored(key)) ?? (await this.read(question, key)),
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
        throw new ReaderFailure('too many files of this project wait to be read');
      if (error !== asker.signal.reason) throw error;
      throw new ReaderFailure('files that were asked for before took too long');
    }
  }

  private async stored(key: string): Promise<Outcome | undefined> {
    const row = await this.database.manager.getRepository(StoredReport).findOneBy({ key });
    return row?.outcome as Outcome | undefined;
  }

  private async read(question: ReportQuestion, key: string): Promise<Outcome> {
    const { base, training, validation, task, maxSeqLen } = question;
    const outcome = await this.reader
      .ask<Reports>({
        op: 'report',
        base: this.files(base),
        training: this.file(training),
        validation: validation && this.file(validation),
        task,
        maxSeqLen,
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

  private files(base: Model): { name: string; path: string }[] {
    return base.files.map(({ name, sha256 }) => ({ name, path: this.blobs.path(sha256) }));
  }

  private file({ sha256, records }: File): { path: string; records: number } {
    return { path: this.blobs.path(sha256), records };
  }
}

/** By contents alone, so that neither a new upload of the same file nor a base imported anew is taken for another. */
function keyOf({ base, training, validation, task, maxSeqLen }: ReportQuestion): string {
  const contents = base.files.map((file) => `${file.name}=${file.sha256}`).sort();
  const files = [training.sha256, validation?.sha256 ?? null];
  return sha256(JSON.stringify([VERSION, contents, files, task, maxSeqLen]));
}
