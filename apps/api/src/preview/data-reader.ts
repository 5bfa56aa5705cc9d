import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { ChildProcess } from 'node:child_process';
import { statSync } from 'node:fs';
import { Settings } from '../config.js';
import { log } from '../log.js';
import { startReader } from '../sandbox/reader-sandbox.js';
import { READER_PROCESS } from '../scripts.js';
import { filesOf, type ReaderAnswer, type ReaderRequest } from './reader-protocol.js';

const IDLE_MS = 60_000;

/** Error for data that could not be read for a reason other than the data. */
export class ReaderFailure extends Error {}

/**
 * Keeps one reader process warm for a project and the files that it may read. The process is ended if it
 * takes too long, is idle, or another project or file is next, so that one project's files cannot affect
 * another's.
 */
@Injectable()
export class DataReader implements OnModuleDestroy {
  private child: ChildProcess | null = null;
  /** Files that the process may read. `owner` is the project that they belong to. */
  private readable = new Set<string>();
  private owner: string | null = null;
  private idle: NodeJS.Timeout | undefined;
  private closing = false;

  constructor(private readonly settings: Settings) {}

  /**
   * Sends one request. Callers must wait for the answer before the next one.
   * @throws DomainError for an error in the data or the base; ReaderFailure if they could not be read
   */
  async ask<T>(project: string, request: ReaderRequest): Promise<T> {
    clearTimeout(this.idle);
    try {
      return value(await this.exchange<T>(project, request));
    } finally {
      this.idle = setTimeout(() => this.end(), IDLE_MS);
      this.idle.unref();
    }
  }

  onModuleDestroy(): void {
    this.closing = true;
    clearTimeout(this.idle);
    this.end();
  }

  private exchange<T>(project: string, request: ReaderRequest): Promise<ReaderAnswer<T>> {
    if (this.closing) return Promise.resolve({ failed: 'the server is stopping' });
    const files = filesOf(request);
    const asked = files.map(identity);
    if (this.owner !== project || asked.some((file) => !this.readable.has(file))) this.end();
    if (this.child === null) [this.owner, this.readable] = [project, new Set(asked)];
    const child = (this.child ??= this.start(files));
    const { readerMs } = this.settings;
    return new Promise((resolve) => {
      const done = (answer: ReaderAnswer<T>): void => {
        clearTimeout(timer);
        child.off('message', answered).off('exit', died);
        resolve(answer);
      };
      const answered = (message: unknown): void => done(message as ReaderAnswer<T>);
      const died = (): void =>
        done({
          failed: 'the process that reads the data ended; the base model may need too much memory',
        });
      const timer = setTimeout(() => {
        this.end();
        done({
          failed: `reading took longer than ${Math.round(readerMs / 1000)} s; the chat template of the base model may hang`,
        });
      }, readerMs);
      child.on('message', answered).on('exit', died);
      child.send(request, (error) => {
        if (error) died();
      });
    });
  }

  private start(readable: readonly string[]): ChildProcess {
    const child = startReader({ script: READER_PROCESS, readable, speaks: 'messages' });
    const gone = (): void => {
      if (this.child === child) this.child = null;
    };
    child.on('exit', gone).on('error', (error) => {
      log.warn({ err: error }, 'the process that reads data could not be started');
      gone();
    });
    return child;
  }

  private end(): void {
    this.child?.kill('SIGKILL');
    this.child = null;
  }
}

/** Identity of the file at a path. A new upload is another file, which the process cannot read. */
function identity(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return `${found?.dev}/${found?.ino} ${path}`;
}

function value<T>(answer: ReaderAnswer<T>): T {
  if ('value' in answer) return answer.value;
  if ('refused' in answer) {
    const { code, message, param } = answer.refused;
    throw new DomainError(code, message, param);
  }
  if ('failed' in answer) throw new ReaderFailure(answer.failed);
  // The message contains details of this machine, which users must not see.
  log.warn({ reason: answer.crashed }, 'data could not be read');
  throw new ReaderFailure('the server could not read the data; see the server log');
}
