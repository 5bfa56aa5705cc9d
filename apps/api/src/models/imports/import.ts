import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError, type ModelObject, parseBody } from '@graft/contracts';
import { z } from 'zod';
import { Audit } from '../../auth/audit.js';
import type { Principal } from '../../auth/principal.js';
import { BlobStore, type WriteRow } from '../../blobs/blob-store.js';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import { Model, type StoredFile } from '../../database/entities/storage.js';
import { faultOf, toOutageError, type Fault } from '../../faults.js';
import { log } from '../../log.js';
import { ImportClaims, claimLost, type Claim } from './import-claims.js';
import { inspectFiles } from './inspect-files.js';
import { modelObject } from '../model-object.js';
import { defaultId, normalizedSource, sourceFiles, type SourceFile } from './sources.js';

export const ImportModel = z.strictObject({
  id: z
    .string()
    .regex(/^[\w.-]{1,96}(\/[\w.-]{1,96})?$/, 'use letters, digits, - _ . and at most one /')
    .refine(
      (id) => !id.endsWith('/archive'),
      'must not end in /archive, which is a path of the API',
    )
    .optional(),
  source: z
    .string()
    .min(1)
    .max(4096)
    .describe(
      'hub:Org/Name, or dir:/path of a folder or .gguf file on the server. Also accepts an address of a model on the hub, Org/Name and an absolute path',
    ),
});

/** Uploader of all imports. Bases have no project, so imports together share the disk as one project does. */
const UPLOADER = 'imports';
const HUB_PATIENCE_MS = 20_000;
const PROGRESS_EVERY_MS = 500;

/** Faults after which an import is resumed later. */
const GO_ON: ReadonlySet<Fault> = new Set<Fault>(['database', 'storage', 'readers']);

/** Copies base models into the blob store in the background. One API process at a time runs an import. */
@Injectable()
export class ModelImport implements OnModuleDestroy {
  private readonly running = new Set<Promise<void>>();
  private readonly stops = new Set<AbortController>();
  private timer: NodeJS.Timeout | null = null;
  private closing = false;

  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly settings: Settings,
    private readonly audit: Audit,
    private readonly claims: ImportClaims,
  ) {}

  private get models() {
    return this.database.manager.getRepository(Model);
  }

  /** Returns the model in state `importing` immediately. Repeating the request is harmless. */
  async start(caller: Principal, body: unknown): Promise<ModelObject> {
    const { id: given, source: requested } = parseBody(ImportModel, body);
    const source = normalizedSource(requested, this.settings.hubUrl);
    const id = given ?? defaultId(source);
    parseBody(ImportModel, { id, source });
    const found = await this.models.findOneBy({ id });
    if (found && found.status !== 'error') {
      if (found.source === source) return modelObject(found, caller);
      throw new DomainError(
        'conflict',
        `a model ${id} already exists, imported from ${found.source}; choose another id`,
        'id',
      );
    }
    const claim = this.claims.create(id, source);
    await this.database.transaction(async (manager) => {
      // Another call may have started it already.
      if (!(await this.claims.begin(claim, manager))) return;
      await this.audit.write(manager, {
        caller,
        action: 'model.imported',
        target: id,
        detail: { source },
        projectId: null,
      });
    });
    this.track(this.run(claim));
    return modelObject(await this.models.findOneByOrFail({ id }), caller);
  }

  /** Resumes unfinished imports of stopped processes, now and periodically. */
  watch(): void {
    this.timer = setInterval(() => this.scan(), this.settings.leaseMs / 3);
    this.scan();
  }

  private scan(): void {
    if (this.closing) return;
    const work = this.claims
      .take()
      .then((claims) => {
        for (const claim of claims) this.track(this.run(claim));
      })
      .catch((error: unknown) => log.warn({ err: error }, 'could not query unfinished imports'));
    this.track(work);
  }

  private track(work: Promise<void>): void {
    this.running.add(work);
    void work.finally(() => this.running.delete(work));
  }

  /** Never rejects. */
  private async run(claim: Claim): Promise<void> {
    const over = new AbortController();
    this.stops.add(over);
    const timer = setInterval(() => {
      this.claims.renew(claim).then(
        (isOwned) => isOwned || over.abort(claimLost()),
        (error: unknown) =>
          log.warn({ err: error, model: claim.id }, 'could not renew the lease of an import'),
      );
    }, this.settings.leaseMs / 3);
    const stored = [...claim.files];
    try {
      await this.copy(claim, stored, over.signal);
    } catch (error) {
      await this.failed(claim, error).catch((problem: unknown) =>
        log.warn({ err: problem, model: claim.id }, 'could not store that an import failed'),
      );
    } finally {
      clearInterval(timer);
      this.stops.delete(over);
    }
    // Files that the model does not name now are not needed.
    for (const file of stored) await this.blobs.release(file.sha256).catch(() => undefined);
  }

  private async failed(claim: Claim, error: unknown): Promise<void> {
    const fault = faultOf(error, 'own');
    if (this.closing || GO_ON.has(fault)) {
      // The source is not at fault, so the next process that finds the import resumes it.
      log.warn({ model: claim.id, err: error }, 'an import stopped; it will resume later');
      return this.claims.release(claim);
    }
    const reason =
      toOutageError(error)?.message ?? (error instanceof Error ? error.message : String(error));
    log.warn({ model: claim.id, err: error }, 'import failed');
    await this.claims.fail(claim, reason.slice(0, 1000));
  }

  private async copy(claim: Claim, stored: StoredFile[], signal: AbortSignal): Promise<void> {
    const files = await within(
      sourceFiles(claim.source, this.settings.hubUrl),
      HUB_PATIENCE_MS,
      `${this.settings.hubUrl} does not respond`,
    );
    const moved = this.progress(
      claim,
      files.reduce((sum, file) => sum + file.size, 0),
    );
    for (const file of files) {
      signal.throwIfAborted();
      if (await this.isStored(file, stored)) moved(file.size);
      else await this.store(claim, file, stored, { moved, signal });
    }
    const facts = await inspectFiles(this.blobs, stored, signal);
    const wanted = stored.filter((file) => facts.files.includes(file.name));
    await this.claims.finish(claim, { ...facts, files: wanted });
    log.info({ model: claim.id, family: facts.family, files: wanted.length }, 'model imported');
  }

  /** Whether an earlier owner of the import has stored this file. */
  private async isStored({ name, size }: SourceFile, stored: StoredFile[]): Promise<boolean> {
    const part = stored.find((file) => file.name === name && file.size === size);
    return part !== undefined && (await this.blobs.haveAll([part]));
  }

  /** Returns a function that adds copied bytes and stores their share of the total periodically. */
  private progress(claim: Claim, total: number): (bytes: number) => void {
    let done = 0;
    let shownAt = -Infinity;
    return (bytes) => {
      done += bytes;
      const now = performance.now();
      if (now - shownAt < PROGRESS_EVERY_MS) return;
      shownAt = now;
      const share = Math.min(0.99, done / Math.max(1, total));
      void this.claims.progress(claim, share).catch(() => undefined);
    };
  }

  private async store(
    claim: Claim,
    file: SourceFile,
    stored: StoredFile[],
    on: { readonly moved: (bytes: number) => void; readonly signal: AbortSignal },
  ): Promise<void> {
    const asPart: WriteRow = (manager, blob) =>
      this.claims.addPart(claim, { name: file.name, ...blob }, manager);
    const inspect = (chunk: Buffer): void => on.moved(chunk.length);
    const stalled = `${file.name}: no bytes for ${this.settings.importStallMs / 1000} s`;
    const content = await within(file.open(), this.settings.importStallMs, stalled);
    const limited = flowing(content, this.settings.importStallMs, stalled, on.signal);
    const blob = await this.blobs.put(limited, asPart, { uploader: UPLOADER, inspect });
    const before = stored.findIndex(({ name }) => name === file.name);
    stored.splice(before < 0 ? stored.length : before, 1, { name: file.name, ...blob });
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    for (const stop of this.stops) stop.abort(new Error('the server is stopping'));
    await Promise.race([
      Promise.allSettled(this.running),
      new Promise((resolve) => setTimeout(resolve, 3000).unref()),
    ]);
  }
}

/** Yields the same chunks. Fails if the next one does not arrive in time, or when `signal` aborts. */
async function* flowing(
  content: AsyncIterable<Buffer>,
  ms: number,
  complaint: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const chunks = content[Symbol.asyncIterator]();
  const aborted = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  );
  aborted.catch(() => undefined);
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await Promise.race([within(chunks.next(), ms, complaint), aborted]);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    // Not awaited, because a source that hangs would not respond to this either.
    void Promise.resolve(chunks.return?.()).catch(() => undefined);
  }
}

function within<T>(work: Promise<T>, ms: number, complaint: string): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DomainError('unavailable', complaint)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
