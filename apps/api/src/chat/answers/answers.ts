import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { DomainError, SCHEMA_VERSION } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import { newId } from '../../ids.js';
import { Quotas } from '../../lifecycle/lease/quotas.js';
import { log } from '../../log.js';
import { WakeUps } from '../../wake/wake-ups.js';
import { Gateways } from '../../relay/gateways.js';
import type { WorkerAddress } from '../../relay/worker-link.js';
import {
  AnswerRows,
  type AnswerUsage,
  type NewAnswer,
  type PlacedRow,
  type Served,
} from './answer-rows.js';

/** Interval between two searches for a worker, even without notifications. */
const LOOK_MS = 1_000;
const RETRY_AFTER_SECONDS = 5;

/** An answer with the worker that generates it. */
export interface PlacedAnswer extends AnswerIdentity {
  readonly worker: WorkerAddress;
}

type AnswerIdentity = Pick<NewAnswer, 'id' | 'projectId' | 'baseId'>;

/** An answer that is queued in this process. */
interface Waiting {
  placed: WorkerAddress | null;
  /** Whether its row has been written. */
  entered: boolean;
  /** Whether another answer took its place in the queue. */
  evicted: boolean;
  served: Served;
  wake: () => void;
}

/**
 * Admits answers and assigns them to workers. Every answer, running or queued, is a row that counts for all API
 * processes: a project has at most as many as its limit, a worker at most as many as it can generate concurrently. If
 * all workers are full, answers wait in a short queue in which projects take turns.
 */
@Injectable()
export class Answers implements OnModuleInit, OnModuleDestroy {
  private readonly open = new Set<string>();
  private readonly waiting = new Map<string, Waiting>();
  private renewing: NodeJS.Timeout | undefined;
  private scanning: Promise<void> | null = null;
  private again = false;
  private scanTimer: NodeJS.Timeout | null = null;
  private readonly unwatch: () => void;

  constructor(
    private readonly database: Database,
    private readonly rows: AnswerRows,
    private readonly settings: Settings,
    private readonly wakeUps: WakeUps,
    private readonly gateways: Gateways,
    private readonly quotas: Quotas,
  ) {
    this.unwatch = wakeUps.watch(`answers:${this.gateways.id}`, () => this.scan());
  }

  /** Not started in the constructor: if another provider failed to construct, nothing would stop the timer. */
  onModuleInit(): void {
    this.renewing = setInterval(() => void this.renew(), this.settings.leaseMs / 3).unref();
  }

  /** Numbers of answers in this process. */
  get counts(): { readonly inProgress: number; readonly waiting: number } {
    return { inProgress: this.open.size - this.waiting.size, waiting: this.waiting.size };
  }

  /**
   * Waits until a worker has capacity.
   * @returns `null` if `left` aborts first
   * @throws DomainError if the project has too many answers, no worker can answer, or the queue is full or does not
   * advance in time
   */
  async begin(
    fields: Omit<NewAnswer, 'id' | 'gatewayId'>,
    left: AbortSignal,
  ): Promise<PlacedAnswer | null> {
    const answer: NewAnswer = { ...fields, id: newId('gen-'), gatewayId: this.gateways.id };
    let placed: PlacedAnswer | null = null;
    this.open.add(answer.id);
    try {
      placed = await this.placed(answer, left, {
        enter: () => this.enqueue(answer),
        bounded: true,
      });
      return placed;
    } finally {
      if (!placed) await this.end(answer.id);
    }
  }

  /** Queues an answer again whose worker has no capacity after all. Its age decides its position. */
  requeue(answer: PlacedAnswer, left: AbortSignal): Promise<PlacedAnswer | null> {
    const { id, worker } = answer;
    const enter = (): Promise<void> =>
      this.changed((manager) => this.rows.requeue(manager, id, worker.workerId));
    return this.placed(answer, left, { enter, bounded: false });
  }

  /** Ends an answer. It never rejects: an answer that could not be ended expires. */
  async end(id: string, used: AnswerUsage | null = null): Promise<void> {
    this.open.delete(id);
    try {
      await this.changed((manager) => this.rows.end(manager, id, used));
      if (await this.rows.hasQueued()) await this.placeWaiting();
    } catch (error) {
      log.warn({ err: error, answer: id }, 'could not end an answer; it will expire');
    }
  }

  /**
   * Writes the row if the project's limit allows it, and assigns a worker if no answer is queued. A line of a batch is not
   * queued.
   */
  private async enqueue(answer: NewAnswer): Promise<void> {
    const { leaseMs } = this.settings;
    const placed = await this.changed(async (manager) => {
      await this.rows.lockProject(manager, answer.projectId);
      await this.admit(manager, answer);
      await this.rows.insert(manager, answer, leaseMs);
      const isNext = !(await this.rows.hasQueued(answer.id, manager));
      const row = isNext ? await this.rows.place(manager, leaseMs, answer) : null;
      if (answer.isBatch && (row === null || row === 'lost')) throw noSpareCapacity();
      return row;
    });
    if (placed !== null && placed !== 'lost') this.notifyPlaced(placed);
  }

  /** Evicts the answer that exceeds the queue's length. */
  private async evictOverflow({ id, projectId }: AnswerIdentity): Promise<void> {
    const { chatQueue } = this.settings;
    const last = await this.changed(async (manager) => {
      await this.rows.lockQueue(manager);
      const found = await this.rows.beyond(manager, projectId, chatQueue);
      if (found && found.id !== id) await this.rows.evict(manager, found.id);
      return found;
    });
    if (last?.id === id) throw this.queueFull();
    if (last) this.wakeUps.announce(`answers:${last.gatewayId}`);
  }

  /** Error for an answer that did not fit in the queue, or was evicted for another answer. */
  private queueFull(): DomainError {
    const { chatQueue } = this.settings;
    return full(
      `the queue of ${chatQueue} chats is full (projects with fewer queued chats go first)`,
    );
  }

  private async admit(manager: EntityManager, answer: NewAnswer): Promise<void> {
    const seen = await this.rows.admissionState(manager, answer, this.settings.leaseMs);
    if (seen.limit !== null && seen.mine >= seen.limit)
      throw new DomainError(
        'insufficient_quota',
        `the project has reached its limit of ${seen.limit} chats in progress (${seen.mine} in progress); try again when one has ended`,
        null,
        RETRY_AFTER_SECONDS,
      );
    await this.quotas.admitTokens(answer.projectId, manager);
    if (seen.served !== 'yes') throw noWorker(answer, seen.served);
  }

  /** Waits until a worker is assigned to the row that `enter` writes. */
  private async placed(
    answer: AnswerIdentity,
    left: AbortSignal,
    { enter, bounded }: { readonly enter: () => Promise<void>; readonly bounded: boolean },
  ): Promise<PlacedAnswer | null> {
    const until = performance.now() + this.settings.chatWaitMs;
    const waiting: Waiting = {
      placed: null,
      entered: false,
      evicted: false,
      served: 'yes',
      wake: () => undefined,
    };
    const wake = (): void => waiting.wake();
    left.addEventListener('abort', wake, { once: true });
    this.waiting.set(answer.id, waiting);
    try {
      await enter();
      waiting.entered = true;
      if (!waiting.placed) await this.placeWaiting();
      if (!waiting.placed && bounded) await this.evictOverflow(answer);
      for (;;) {
        if (left.aborted) return null;
        if (waiting.placed) return { ...answer, worker: waiting.placed };
        if (waiting.evicted) throw this.queueFull();
        if (waiting.served !== 'yes') throw noWorker(answer, waiting.served);
        const remaining = until - performance.now();
        if (remaining <= 0) throw full(`none was free within ${this.settings.chatWaitMs / 1000} s`);
        this.scheduleScan();
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, remaining);
          waiting.wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    } finally {
      this.waiting.delete(answer.id);
      left.removeEventListener('abort', wake);
    }
  }

  /**
   * Runs a transaction whose commit does not wait for the disk. After a crash of the database, rows of ended answers
   * may reappear; they expire.
   */
  private changed<T>(change: (manager: EntityManager) => Promise<T>): Promise<T> {
    return this.database.transaction(async (manager) => {
      await this.rows.skipCommitWait(manager);
      return change(manager);
    });
  }

  /** Assigns the free capacity to queued answers, in turn. */
  private async placeWaiting(): Promise<void> {
    for (;;) {
      const placed = await this.changed(async (manager) => {
        await this.rows.lockQueue(manager);
        return this.rows.place(manager, this.settings.leaseMs);
      });
      if (placed === null) return;
      if (placed !== 'lost') this.notifyPlaced(placed);
    }
  }

  private notifyPlaced({ id, gatewayId, worker }: PlacedRow): void {
    const waiting = this.waiting.get(id);
    if (waiting) {
      waiting.placed = worker;
      waiting.wake();
    } else this.wakeUps.announce(`answers:${gatewayId}`);
  }

  private scheduleScan(): void {
    this.scanTimer ??= setTimeout(() => {
      this.scanTimer = null;
      this.scan();
    }, LOOK_MS);
  }

  /** Assigns queued answers of any process, and finds those that other processes assigned. */
  private scan(): void {
    if (this.waiting.size === 0) return;
    this.again = true;
    this.scanning ??= this.scanRepeatedly()
      .catch((error: unknown) =>
        log.warn({ err: error }, 'could not assign a worker to queued chats'),
      )
      .finally(() => {
        this.scanning = null;
        if (this.waiting.size > 0) this.scheduleScan();
      });
  }

  private async scanRepeatedly(): Promise<void> {
    while (this.again) {
      this.again = false;
      if (await this.rows.canPlace(this.settings.leaseMs)) await this.placeWaiting();
      const entered = [...this.waiting].filter(([, waiting]) => waiting.entered);
      const found = await this.rows.existing(
        entered.map(([id]) => id),
        this.settings.leaseMs,
      );
      for (const [id, waiting] of entered) {
        const row = found.get(id);
        waiting.placed ??= row?.worker ?? null;
        waiting.evicted = row === undefined;
        waiting.served = row?.served ?? 'yes';
        if (waiting.placed || waiting.evicted || waiting.served !== 'yes') waiting.wake();
      }
    }
  }

  private async renew(): Promise<void> {
    try {
      await this.rows.renew([...this.open], this.settings.leaseMs);
    } catch (error) {
      log.warn({ err: error }, 'could not renew the answers in progress');
    }
  }

  async onModuleDestroy(): Promise<void> {
    this.unwatch();
    clearInterval(this.renewing);
    if (this.scanTimer) clearTimeout(this.scanTimer);
    await this.scanning;
  }
}

const full = (why: string): DomainError =>
  new DomainError(
    'queue_full',
    `every worker that may answer is running its maximum number of chats, and ${why}; try again later`,
    null,
    RETRY_AFTER_SECONDS,
  );

/** Error for a line of a batch that finds no capacity. */
export const noSpareCapacity = (): DomainError =>
  new DomainError(
    'queue_full',
    'no worker has capacity for batches; half of it is for other requests',
    null,
    RETRY_AFTER_SECONDS,
  );

const noWorker = (
  { baseId }: Pick<AnswerIdentity, 'baseId'>,
  served: Exclude<Served, 'yes'>,
): DomainError =>
  new DomainError(
    'no_worker',
    served === 'outdated'
      ? `no connected worker that this project may use has schema version ${SCHEMA_VERSION} or newer; upgrade the workers`
      : `no connected worker that this project may use can load ${baseId}; start one with graft-worker`,
    null,
    RETRY_AFTER_SECONDS,
  );
