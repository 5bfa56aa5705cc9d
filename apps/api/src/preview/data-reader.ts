import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Settings } from '../config.js';
import { log } from '../log.js';
import type { ReaderAnswer, ReaderRequest } from './reader-protocol.js';

const SCRIPT = fileURLToPath(new URL('./reader-process.js', import.meta.url));
const IDLE_MS = 60_000;
const HEAP_MB = 768;
const MOST_WAITING = 64;

/** Data could not be looked at, through no fault of theirs. */
export class ReaderFailure extends Error {}

/** Keeps one reader process warm, asks it one thing at a time, and ends it when it takes too long or has nothing to do. */
@Injectable()
export class DataReader implements OnModuleDestroy {
  private child: ChildProcess | null = null;
  private last: Promise<unknown> = Promise.resolve();
  private waiting = 0;
  private idle: NodeJS.Timeout | undefined;
  private closing = false;

  constructor(private readonly settings: Settings) {}

  /** @throws DomainError what is wrong with the data or the base; ReaderFailure when it could not be found out */
  async ask<T>(request: ReaderRequest): Promise<T> {
    if (this.waiting >= MOST_WAITING) throw new ReaderFailure('too many files are being read');
    this.waiting++;
    clearTimeout(this.idle);
    const turn = this.last.then(() => this.exchange<T>(request));
    this.last = turn.catch(() => undefined);
    try {
      return value(await turn);
    } finally {
      if (--this.waiting === 0) {
        this.idle = setTimeout(() => this.end(), IDLE_MS);
        this.idle.unref();
      }
    }
  }

  onModuleDestroy(): void {
    this.closing = true;
    clearTimeout(this.idle);
    this.end();
  }

  private exchange<T>(request: ReaderRequest): Promise<ReaderAnswer<T>> {
    if (this.closing) return Promise.resolve({ failed: 'the server is stopping' });
    const child = (this.child ??= this.start());
    const { readerMs } = this.settings;
    return new Promise((resolve) => {
      const done = (answer: ReaderAnswer<T>): void => {
        clearTimeout(timer);
        child.off('message', answered).off('exit', died);
        resolve(answer);
      };
      const answered = (message: unknown): void => done(message as ReaderAnswer<T>);
      const died = (): void =>
        done({ failed: 'the reading process ended; the base may need too much memory' });
      const timer = setTimeout(() => {
        this.end();
        done({
          failed: `reading took longer than ${Math.round(readerMs / 1000)} s; the base's chat template may hang`,
        });
      }, readerMs);
      child.on('message', answered).on('exit', died);
      child.send(request, (error) => {
        if (error) died();
      });
    });
  }

  private start(): ChildProcess {
    const child = fork(SCRIPT, {
      execArgv: [`--max-old-space-size=${HEAP_MB}`],
      // It needs no secrets of the API's environment.
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    const gone = (): void => {
      if (this.child === child) this.child = null;
    };
    child.on('exit', gone).on('error', (error) => {
      log.warn({ err: error }, 'the reading process could not be started');
      gone();
    });
    return child;
  }

  private end(): void {
    this.child?.kill('SIGKILL');
    this.child = null;
  }
}

function value<T>(answer: ReaderAnswer<T>): T {
  if ('value' in answer) return answer.value;
  if ('refused' in answer) {
    const { code, message, param } = answer.refused;
    throw new DomainError(code, message, param);
  }
  throw new ReaderFailure(answer.failed);
}
