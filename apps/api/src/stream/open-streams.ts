import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { Request, Response } from 'express';
import { ApiKeysService } from '../auth/keys/api-keys.service.js';
import type { Principal } from '../auth/principal.js';
import { Settings } from '../config.js';
import { Readiness } from '../readiness.js';
import { log } from '../log.js';
import { Sse } from './sse.js';

/**
 * Interval for checking the keys of all streams. A stream ends within twice this time after its key stops
 * working.
 */
const CHECK_MS = 2_000;
const RETRY_AFTER_SECONDS = 10;

/**
 * Event streams of this process. Their number is limited per key, per project and in total. A stream ends
 * when its key stops working.
 */
@Injectable()
export class OpenStreams implements OnModuleInit, OnModuleDestroy {
  private readonly byKey = new Map<string, Set<Sse>>();
  private readonly byProject = new Map<string, number>();
  private count = 0;
  private checking: NodeJS.Timeout | undefined;

  constructor(
    private readonly keys: ApiKeysService,
    private readonly settings: Settings,
    private readonly readiness: Readiness,
  ) {}

  /**
   * Starts the checks. The constructor does not, because nothing would stop them if another provider failed
   * to start.
   */
  onModuleInit(): void {
    this.checking = setInterval(() => void this.check(), CHECK_MS).unref();
  }

  /** @throws DomainError if the maximum number of streams is open */
  open({ keyId, projectId }: Principal, request: Request, response: Response): Sse {
    const own = this.byKey.get(keyId) ?? new Set();
    const ofProject = this.byProject.get(projectId) ?? 0;
    const { streams, streamsPerKey, streamsPerProject } = this.settings;
    if (own.size >= streamsPerKey)
      throw tooMany(
        `this API key has ${own.size} event streams open, the most that a key may have`,
      );
    if (ofProject >= streamsPerProject)
      throw tooMany(
        `the API keys of this project have ${ofProject} event streams open, the most that a project may have`,
      );
    if (this.count >= streams)
      throw tooMany(`${this.count} event streams are open, the most that this server allows`);
    const sse = new Sse(request, response);
    this.byKey.set(keyId, own.add(sse));
    this.counted(projectId, 1);
    void sse.closed.then(() => {
      own.delete(sse);
      this.counted(projectId, -1);
      if (own.size === 0 && this.byKey.get(keyId) === own) this.byKey.delete(keyId);
    });
    // The client reconnects, then to another process.
    if (this.readiness.state === 'stopping') sse.end();
    return sse;
  }

  private counted(projectId: string, more: 1 | -1): void {
    this.count += more;
    const left = (this.byProject.get(projectId) ?? 0) + more;
    if (left > 0) this.byProject.set(projectId, left);
    else this.byProject.delete(projectId);
  }

  /** Ends all streams, so that a stopping server does not wait for them. Clients reconnect. */
  endAll(): void {
    for (const own of this.byKey.values()) for (const sse of own) sse.end();
  }

  private async check(): Promise<void> {
    const ids = [...this.byKey.keys()];
    if (ids.length === 0) return;
    try {
      const good = await this.keys.stillGood(ids);
      for (const id of ids)
        if (!good.has(id)) for (const sse of this.byKey.get(id) ?? []) sse.end();
    } catch (error) {
      log.warn({ err: error }, 'could not check the keys of event streams; retrying');
    }
  }

  onModuleDestroy(): void {
    clearInterval(this.checking);
  }
}

const tooMany = (why: string): DomainError =>
  new DomainError(
    'rate_limit_exceeded',
    `${why}; close one before you open another`,
    null,
    RETRY_AFTER_SECONDS,
  );
