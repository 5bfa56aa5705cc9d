import { setMaxListeners } from 'node:events';
import { createReadStream } from 'node:fs';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError, grouped, type BatchProblem } from '@graft/contracts';
import { projectPrincipal, type Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { ClaimedWork, type Claim } from '../claims/claimed-work.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { Batch } from '../database/entities/batches.js';
import { File } from '../database/entities/storage.js';
import { Quotas } from '../lifecycle/lease/quotas.js';
import { ModelsService } from '../models/models.service.js';
import { BatchAnswers } from './batch-answers.js';
import { BatchClaims } from './batch-claims.js';
import { BatchFiles } from './batch-files.js';
import { batchLines, checkLine, MOST_LINES, type BadLine, type BatchLine } from './batch-lines.js';
import { LineWork } from './line-work.js';

/** Batches that this process works on concurrently. */
const MOST_BATCHES = 8;
/** Requests of a batch that are answered concurrently, if workers have the capacity. */
const MOST_CONCURRENT = 64;
/** Time for which a batch keeps its place while others wait for one. */
const TURN_MS = 30_000;
/** Problems of an input file that are reported. */
const MOST_PROBLEMS = 20;

/** Answers the requests of batches in the background. */
@Injectable()
export class BatchRunner implements OnModuleDestroy {
  private readonly batches: ClaimedWork<Claim>;
  /** Numbers of times that the worker of a line was lost, by batch. */
  private readonly losses = new Map<string, Map<number, number>>();

  constructor(
    private readonly database: Database,
    settings: Settings,
    private readonly claims: BatchClaims,
    private readonly blobs: BlobStore,
    private readonly models: ModelsService,
    private readonly answers: BatchAnswers,
    private readonly files: BatchFiles,
    private readonly quotas: Quotas,
  ) {
    this.batches = new ClaimedWork({
      what: 'batches',
      most: MOST_BATCHES,
      leaseMs: settings.leaseMs,
      claims,
      work: (claim, stop) => this.work(claim, stop),
    });
  }

  watch(): void {
    this.batches.watch();
  }

  scan(): void {
    this.batches.scan();
  }

  /** Stops answering the requests of a batch that was cancelled. */
  stop(id: string): void {
    this.batches.stop(id);
  }

  onModuleDestroy(): Promise<void> {
    return this.batches.close();
  }

  /** Takes a batch through its states until it ends, has to wait, or has used its turn. */
  private async work(claim: Claim, stop: AbortSignal): Promise<void> {
    const validating = await this.claims.row(claim);
    if (validating?.status === 'validating') await this.validate(claim, validating);
    const running = await this.claims.row(claim);
    if (running?.status === 'in_progress') await this.answerLines(claim, running, stop);
    const ending = await this.claims.row(claim);
    if (ending?.status === 'finalizing' || ending?.status === 'cancelling')
      await this.files.finish(claim, ending, await this.lines(ending));
    if (ending && ending.status !== 'in_progress') this.losses.delete(claim.id);
  }

  /** Starts the batch, or fails it with the problems of its file. */
  private async validate(claim: Claim, batch: Batch): Promise<void> {
    const problems: BatchProblem[] = [];
    const problem = ({ code, message, param }: DomainError, line: number | null): void =>
      void problems.push({ code, line, message, param });
    const customIds = new Set<string>();
    const models = new Set<string>();
    const caller = callerOf(batch);
    for await (const line of await this.lines(batch)) {
      if (problems.length === MOST_PROBLEMS) break;
      try {
        if ('error' in line) throw line.error;
        checkLine(line, batch.endpoint);
        checkCount(customIds, line);
        if (!models.has(line.body.model))
          await this.models.resolve(caller, line.body.model, 'body.model');
        models.add(line.body.model);
      } catch (error) {
        if (!(error instanceof DomainError)) throw error;
        problem(error, line.number);
        if (customIds.size > MOST_LINES) break;
      }
    }
    if (customIds.size === 0 && problems.length === 0)
      problem(new DomainError('invalid_value', 'the file has no requests', 'input_file_id'), null);
    if (problems.length > 0) return this.claims.fail(claim, problems);
    const [model = null] = models.size === 1 ? models : [];
    await this.claims.start(claim, { total: customIds.size, model });
  }

  private async answerLines(claim: Claim, batch: Batch, stop: AbortSignal): Promise<void> {
    const over = new AbortController();
    // One listener for each request in progress.
    setMaxListeners(0, over.signal);
    const end = (): void => over.abort();
    stop.addEventListener('abort', end, { once: true });
    const left = await this.claims.millisecondsLeft(claim);
    // A longer timer would fire immediately. A batch lasts that long only in many turns.
    const expiry = setTimeout(end, Math.min(left, 2 ** 31 - 1));
    const turnEnds = performance.now() + TURN_MS;
    const caller = callerOf(batch);
    try {
      const done = await this.claims.done(claim);
      const losses = this.losses.get(batch.id) ?? new Map<number, number>();
      this.losses.set(batch.id, losses);
      const work = new LineWork<BatchLine>({
        losses,
        lines: requests(await this.lines(batch, done)),
        modelOf: ({ body }) => (batch.model === null ? body.model : null),
        most: await this.quotas.backgroundChats(batch.project_id, MOST_CONCURRENT),
        answer: (line, mayBeLost) =>
          this.answers.answer(caller, batch.endpoint, line, { mayBeLost, left: over.signal }),
        store: (result) => this.claims.store(claim, result),
        isOver: () => over.signal.aborted || (performance.now() > turnEnds && this.batches.isFull),
      });
      const waitsFor = await work.run();
      if (stop.aborted) return;
      if (waitsFor && !over.signal.aborted) {
        const pause = await this.claims.wait(claim, waitsFor);
        if (pause !== null) this.batches.scan(pause);
      } else await this.claims.finalize(claim);
    } finally {
      clearTimeout(expiry);
      stop.removeEventListener('abort', end);
    }
  }

  /** Reads the lines of the input file, which is kept while the batch is open. */
  private async lines(
    { input_file: id }: Batch,
    without?: ReadonlySet<number>,
  ): Promise<AsyncGenerator<BatchLine | BadLine>> {
    const { sha256, bytes: size } = await this.database.manager
      .getRepository(File)
      .findOneByOrFail({ id });
    // A connection to S3 would not stay open for as long as it takes to answer the lines.
    return batchLines(createReadStream(await this.blobs.file({ sha256, size })), without);
  }
}

const callerOf = (batch: Batch): Principal => ({ ...projectPrincipal(batch), isBatch: true });

async function* requests(lines: AsyncIterable<BatchLine | BadLine>): AsyncGenerator<BatchLine> {
  for await (const line of lines) if (!('error' in line)) yield line;
}

function checkCount(customIds: Set<string>, { customId }: BatchLine): void {
  if (customIds.has(customId))
    throw new DomainError(
      'invalid_value',
      `custom_id: ${customId.slice(0, 60)} is not unique`,
      'custom_id',
    );
  customIds.add(customId);
  if (customIds.size > MOST_LINES)
    throw new DomainError(
      'invalid_value',
      `expected at most ${grouped(MOST_LINES)} requests`,
      'input_file_id',
    );
}
