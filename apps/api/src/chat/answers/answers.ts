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
import { AnswerRows, type NewAnswer, type PlacedRow, type Served } from './answer-rows.js';

/** Between two looks for a worker, even if nothing was announced. */
const LOOK_MS = 1_000;
const RETRY_AFTER_SECONDS = 5;

/** An answer with the worker that is to make it. */
export interface PlacedAnswer extends Asked {
  readonly worker: WorkerAddress;
}

type Asked = Pick<NewAnswer, 'id' | 'projectId' | 'baseId'>;

/** One that waits in this process. */
interface Waiting {
  placed: WorkerAddress | null;
  /** Its row is there, */
  entered: boolean;
  /** or is gone: another took its place in the queue. */
  evicted: boolean;
  served: Served;
  wake: () => void;
}

/**
 * Who may chat, and with which worker. Every answer is a row, in progress or waiting, counted there for all API
 * processes: a project has at most as many as its limit says, a worker at most as many as it makes at once. What finds
 * all workers full waits in a short queue, whose projects take turns.
 */
@Injectable()
export class Answers implements OnModuleInit, OnModuleDestroy {
  private readonly open = new Set<string>();
  private readonly waiting = new Map<string, Waiting>();
  private renewing: NodeJS.Timeout | undefined;
  private looking: Promise<void> | null = null;
  private again = false;
  private lookTimer: NodeJS.Timeout | null = null;
  private readonly unwatch: () => void;

  constructor(
    private readonly database: Database,
    private readonly rows: AnswerRows,
    private readonly settings: Settings,
    private readonly wakeUps: WakeUps,
    private readonly gateways: Gateways,
    private readonly quotas: Quotas,
  ) {
    this.unwatch = wakeUps.watch(`answers:${this.gateways.id}`, () => this.look());
  }

  /** Not while it is made: where another part cannot be, nobody would end it. */
  onModuleInit(): void {
    this.renewing = setInterval(() => void this.renew(), this.settings.leaseMs / 3).unref();
  }

  /** Of this process. */
  get counts(): { readonly inProgress: number; readonly waiting: number } {
    return { inProgress: this.open.size - this.waiting.size, waiting: this.waiting.size };
  }

  /**
   * Waits until a worker has room; null where `left` aborts first.
   * @throws DomainError where the project has too many, nobody can answer, or the queue is full or does not move
   */
  async begin(
    asked: Omit<NewAnswer, 'id' | 'gatewayId'>,
    left: AbortSignal,
  ): Promise<PlacedAnswer | null> {
    const answer: NewAnswer = { ...asked, id: newId('gen-'), gatewayId: this.gateways.id };
    let placed: PlacedAnswer | null = null;
    this.open.add(answer.id);
    try {
      placed = await this.placed(answer, left, { enter: () => this.enter(answer), bounded: true });
      return placed;
    } finally {
      if (!placed) await this.end(answer.id);
    }
  }

  /** The worker has no room after all: waits for another, at the place that the answer's age gives it. */
  elsewhere(answer: PlacedAnswer, left: AbortSignal): Promise<PlacedAnswer | null> {
    const { id, worker } = answer;
    const enter = (): Promise<void> =>
      this.changed((manager) => this.rows.takeBack(manager, id, worker.workerId));
    return this.placed(answer, left, { enter, bounded: false });
  }

  /** Never rejects: what could not be ended runs out by itself. */
  async end(id: string, tokens = 0): Promise<void> {
    this.open.delete(id);
    try {
      await this.changed((manager) => this.rows.end(manager, id, tokens));
      if (await this.rows.waits()) await this.placeWaiting();
    } catch (error) {
      log.warn({ err: error, answer: id }, 'could not end an answer; it will run out');
    }
  }

  /** Writes the row, if the project may have one more, and gives it room where nobody stands in line. */
  private async enter(answer: NewAnswer): Promise<void> {
    const { leaseMs } = this.settings;
    const placed = await this.changed(async (manager) => {
      await this.rows.lockProject(manager, answer.projectId);
      await this.admit(manager, answer);
      await this.rows.insert(manager, answer, leaseMs);
      if (await this.rows.waits(answer.id, manager)) return null;
      return this.rows.place(manager, leaseMs, answer.id);
    });
    if (placed !== null && placed !== 'lost') this.tell(placed);
  }

  /** Takes what the queue cannot hold. */
  private async overflow({ id, projectId }: Asked): Promise<void> {
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

  /** Whether it left by itself or was evicted: by a chat of another project, or by an earlier one of its own. */
  private queueFull(): DomainError {
    const { chatQueue } = this.settings;
    return full(`the queue of ${chatQueue} chats is full; projects that have fewer in it go first`);
  }

  private async admit(manager: EntityManager, answer: NewAnswer): Promise<void> {
    const seen = await this.rows.seen(manager, answer, this.settings.leaseMs);
    if (seen.limit !== null && seen.mine >= seen.limit)
      throw new DomainError(
        'insufficient_quota',
        `the project's limit of ${seen.limit} chats in progress is reached (${seen.mine} in progress); try again when one has ended`,
        null,
        RETRY_AFTER_SECONDS,
      );
    await this.quotas.admitTokens(answer.projectId, manager);
    if (seen.served !== 'yes') throw noWorker(answer, seen.served);
  }

  /** Waits for the row that `enter` writes to have a worker. */
  private async placed(
    answer: Asked,
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
      if (!waiting.placed && bounded) await this.overflow(answer);
      for (;;) {
        if (left.aborted) return null;
        if (waiting.placed) return { ...answer, worker: waiting.placed };
        if (waiting.evicted) throw this.queueFull();
        if (waiting.served !== 'yes') throw noWorker(answer, waiting.served);
        const remaining = until - performance.now();
        if (remaining <= 0) throw full(`none had room within ${this.settings.chatWaitMs / 1000} s`);
        this.lookSoon();
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

  /** It does not wait for the disk: a row that a crash of the database brings back runs out. */
  private changed<T>(change: (manager: EntityManager) => Promise<T>): Promise<T> {
    return this.database.transaction(async (manager) => {
      await this.rows.hurry(manager);
      return change(manager);
    });
  }

  /** Gives those who stand in line the room that there is, by turns. */
  private async placeWaiting(): Promise<void> {
    for (;;) {
      const placed = await this.changed(async (manager) => {
        await this.rows.lockQueue(manager);
        return this.rows.place(manager, this.settings.leaseMs);
      });
      if (placed === null) return;
      if (placed !== 'lost') this.tell(placed);
    }
  }

  private tell({ id, gatewayId, worker }: PlacedRow): void {
    const waiting = this.waiting.get(id);
    if (waiting) {
      waiting.placed = worker;
      waiting.wake();
    } else this.wakeUps.announce(`answers:${gatewayId}`);
  }

  private lookSoon(): void {
    this.lookTimer ??= setTimeout(() => {
      this.lookTimer = null;
      this.look();
    }, LOOK_MS);
  }

  /** Places who waits, here or elsewhere, and sees what others placed. */
  private look(): void {
    if (this.waiting.size === 0) return;
    this.again = true;
    this.looking ??= this.looks()
      .catch((error: unknown) => log.warn({ err: error }, 'could not look for room for a chat'))
      .finally(() => {
        this.looking = null;
        if (this.waiting.size > 0) this.lookSoon();
      });
  }

  private async looks(): Promise<void> {
    while (this.again) {
      this.again = false;
      if (await this.rows.canPlace(this.settings.leaseMs)) await this.placeWaiting();
      const entered = [...this.waiting].filter(([, waiting]) => waiting.entered);
      const found = await this.rows.found(
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
    if (this.lookTimer) clearTimeout(this.lookTimer);
    await this.looking;
  }
}

const full = (why: string): DomainError =>
  new DomainError(
    'queue_full',
    `every worker that may answer makes as many chats as it can, and ${why}; try again later`,
    null,
    RETRY_AFTER_SECONDS,
  );

const noWorker = ({ baseId }: Pick<Asked, 'baseId'>, served: Exclude<Served, 'yes'>): DomainError =>
  new DomainError(
    'no_worker',
    served === 'outdated'
      ? `no connected worker that this project may use is of schema version ${SCHEMA_VERSION} or newer; upgrade the workers`
      : `no connected worker that this project may use can load ${baseId}; start one with graft-worker`,
    null,
    RETRY_AFTER_SECONDS,
  );
