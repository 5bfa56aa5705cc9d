import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError, type ModelObject } from '@graft/contracts';
import { link, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BlobStore, type WriteRow } from '../blobs/blob-store.js';
import { diskFull } from '../blobs/disk-full.js';
import { inspectModelFolder } from '../catalog/plugins.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Model, type StoredFile } from '../database/entities/storage.js';
import { parseBody } from '../http/parse.js';
import { randomText } from '../ids.js';
import { log } from '../log.js';
import { modelObject } from './model-object.js';
import { defaultId, sourceFiles, type SourceFile } from './sources.js';

export const ImportModel = z.strictObject({
  id: z
    .string()
    .regex(/^[\w.-]{1,96}(\/[\w.-]{1,96})?$/, 'use letters, digits, - _ . and at most one /')
    .refine((id) => !id.endsWith('/archive'), 'may not end in /archive, an address of the API')
    .optional(),
  source: z
    .string()
    .min(5)
    .max(4096)
    .describe('hub:Org/Name, or dir:/path of a folder or .gguf file on the server'),
});

const HUB_PATIENCE_MS = 20_000;
const PROGRESS_EVERY_MS = 500;

type Importing = Readonly<{ id: string; source: string; status: 'importing' }>;
type ModelInspection = ReturnType<typeof inspectModelFolder>;

/** Copies base models into the blob store, in the background. */
@Injectable()
export class ModelImport implements OnModuleDestroy {
  private readonly running = new Map<string, Promise<void>>();
  private closing = false;

  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly settings: Settings,
  ) {}

  private get models() {
    return this.database.manager.getRepository(Model);
  }

  /** Answers at once with the model in state `importing`; asking again for the same one is harmless. */
  async start(body: unknown): Promise<ModelObject> {
    const { id: given, source } = parseBody(ImportModel, body);
    const id = given ?? defaultId(source);
    parseBody(ImportModel, { id, source });
    const found = await this.models.findOneBy({ id });
    if (found && found.status !== 'error') {
      if (found.source === source) return modelObject(found);
      throw new DomainError(
        'conflict',
        `there is a model ${id} already, from ${found.source}; give another id`,
        'id',
      );
    }
    await this.models.upsert(
      {
        id,
        project_id: null,
        kind: 'base',
        status: 'importing',
        status_details: null,
        progress: 0,
        source,
        files: [],
      },
      { conflictPaths: ['id'] },
    );
    this.run(id, source);
    return modelObject(await this.models.findOneByOrFail({ id }));
  }

  /** Imports that a stopped server left unfinished begin again. */
  async resumeAll(): Promise<void> {
    for (const { id, source } of await this.models.findBy({ status: 'importing' }))
      if (source) this.run(id, source);
  }

  private run(id: string, source: string): void {
    // One that was deleted and asked for again waits for the first to find out.
    const before = this.running.get(id) ?? Promise.resolve();
    const work = before
      .then(() => this.copy(id, source))
      .catch((error: unknown) => this.failed(id, source, error))
      .finally(() => {
        if (this.running.get(id) === work) this.running.delete(id);
      });
    this.running.set(id, work);
  }

  private async failed(id: string, source: string, error: unknown): Promise<void> {
    if (this.closing) return;
    const reason =
      diskFull(error)?.message ?? (error instanceof Error ? error.message : String(error));
    log.warn({ model: id, err: error }, 'import failed');
    await this.models
      .update(importing(id, source), {
        status: 'error',
        status_details: reason.slice(0, 1000),
        progress: null,
      })
      .catch(() => undefined);
  }

  private async copy(id: string, source: string): Promise<void> {
    const files = await within(
      sourceFiles(source, this.settings.hubUrl),
      HUB_PATIENCE_MS,
      `${this.settings.hubUrl} does not answer`,
    );
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const stored: StoredFile[] = [];
    const row = importing(id, source);
    try {
      const moved = this.progress(row, total);
      for (const file of files) await this.store(row, file, stored, moved);
      const facts = await this.inspect(stored);
      const wanted = stored.filter((file) => facts.files.includes(file.name));
      await this.models.update(row, {
        status: 'ready',
        status_details: null,
        progress: null,
        files: wanted,
        family: facts.family,
        // TypeORM's deep-partial type cannot express an open record.
        config: facts.config as never,
        parameters: facts.parameters,
        bytes: wanted.reduce((sum, file) => sum + file.size, 0),
      });
      log.info({ model: id, family: facts.family, files: wanted.length }, 'model imported');
    } catch (error) {
      await this.models.update(row, { files: [] }).catch(() => undefined);
      throw error;
    } finally {
      for (const file of stored) await this.blobs.release(file.sha256);
    }
  }

  /** Adds up copied bytes and shows their share now and then. */
  private progress(row: Importing, total: number): (bytes: number) => void {
    let done = 0;
    let told = 0;
    return (bytes) => {
      done += bytes;
      if (Date.now() - told < PROGRESS_EVERY_MS) return;
      told = Date.now();
      const share = Math.min(0.99, done / Math.max(1, total));
      void this.models.update(row, { progress: share }).catch(() => undefined);
    };
  }

  /** The model names what has come so far: an import may take longer than retention waits. */
  private async store(
    row: Importing,
    file: SourceFile,
    stored: StoredFile[],
    moved: (bytes: number) => void,
  ): Promise<void> {
    if (this.closing) throw new DomainError('unavailable', 'the server is stopping');
    const asPart: WriteRow = async (manager, blob) => {
      const parts = [...stored, { name: file.name, ...blob }];
      const { affected } = await manager.getRepository(Model).update(row, { files: parts });
      if (!affected)
        throw new DomainError('conflict', 'the model was deleted or imported elsewhere');
    };
    const inspect = (chunk: Buffer): void => moved(chunk.length);
    const blob = await this.blobs.put(await file.open(), asPart, { inspect });
    stored.push({ name: file.name, ...blob });
  }

  /** Lets peft-core look at the files as a folder: names in a scratch folder that link to the blobs. */
  private async inspect(files: readonly StoredFile[]): Promise<ModelInspection> {
    const folder = join(this.settings.blobsDir, 'incoming', `inspect-${randomText()}`);
    await mkdir(folder, { recursive: true });
    try {
      for (const file of files) await link(this.blobs.path(file.sha256), join(folder, file.name));
      const found = inspectModelFolder(folder);
      if (found.problems.length > 0)
        throw new DomainError('invalid_model', found.problems.join('; '));
      return found;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    await Promise.race([
      Promise.allSettled(this.running.values()),
      new Promise((resolve) => setTimeout(resolve, 3000).unref()),
    ]);
  }
}

/** The row while it is this import's: meanwhile it may be deleted, asked for anew, or done by another process. */
const importing = (id: string, source: string): Importing => ({ id, source, status: 'importing' });

function within<T>(work: Promise<T>, ms: number, complaint: string): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DomainError('unavailable', complaint)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
