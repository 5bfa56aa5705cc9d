// Whose work a trainer process is at, noted where the end of the process leaves it, however it ends: in a file without
// a name that its parent opened, holds open and reads afterwards. Bytes written to it are the kernel's at once.
import { closeSync, existsSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyOf, type AttemptKey } from '../protocol/protocol.js';

/**
 * idle: between pieces of work, or nobody knows. runs: a piece of work of one run, or one that several share, by
 * their keys. answers: a step of answers. base: the base is being loaded.
 */
export type Work =
  | { readonly kind: 'idle' | 'answers' | 'base' }
  | { readonly kind: 'runs'; readonly keys: readonly string[] };

export const IDLE: Work = { kind: 'idle' };

/** The file is the trainer's descriptor of this number. */
export const MARK_FD = 3;
/** Tells a trainer that it has one. */
export const MARK_VARIABLE = 'GRAFT_WORK_MARK';

/** In memory where the system offers that: a mark costs 2 µs there, and no disk has to keep up. */
const FOLDER = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
/** A mark that says more says nothing: who reads it takes everybody for a part of the work. */
const MOST_BYTES = 64 << 10;
const END = '\n';

const line = (work: Work): Buffer => Buffer.from(`${JSON.stringify(work)}${END}`);
const IDLE_LINE = line(IDLE);
const ANSWERS_LINE = line({ kind: 'answers' });
const BASE_LINE = line({ kind: 'base' });

/** The trainer's side. Each call tells of the work that follows it, until the next. */
export class WorkMark {
  private last = IDLE_LINE;
  /** Lines of single runs: they come again at every step. */
  private readonly lines = new WeakMap<AttemptKey, Buffer>();

  /** @param fd null: nobody wants to know */
  constructor(private readonly fd: number | null) {}

  /** The one that this process was started with, if it was. */
  static inherited(): WorkMark {
    return new WorkMark(process.env[MARK_VARIABLE] === undefined ? null : MARK_FD);
  }

  idle(): void {
    this.write(IDLE_LINE);
  }

  /** A forward of several, or anything of one. */
  runs(keys: readonly AttemptKey[]): void {
    const [only] = keys;
    if (only === undefined || keys.length > 1)
      return this.write(line({ kind: 'runs', keys: keys.map(keyOf) }));
    const known = this.lines.get(only) ?? line({ kind: 'runs', keys: [keyOf(only)] });
    this.lines.set(only, known);
    this.write(known);
  }

  answers(): void {
    this.write(ANSWERS_LINE);
  }

  base(): void {
    this.write(BASE_LINE);
  }

  private write(bytes: Buffer): void {
    if (this.fd === null || bytes === this.last) return;
    this.last = bytes.length > MOST_BYTES ? IDLE_LINE : bytes;
    writeSync(this.fd, this.last, 0, this.last.length, 0);
  }
}

/** The parent's side. */
export class WorkMarkFile {
  private isOpen = true;

  private constructor(readonly fd: number) {}

  static open(): WorkMarkFile {
    const path = join(FOLDER, `graft-mark-${randomUUID()}`);
    const fd = openSync(path, 'wx+', 0o600);
    // Nobody else opens it, and nothing is left of it when both ends are closed.
    rmSync(path, { force: true });
    writeSync(fd, IDLE_LINE, 0, IDLE_LINE.length, 0);
    return new WorkMarkFile(fd);
  }

  /** What the process was at when it last said so; closes the file. A trainer may have written anything there. */
  take(): Work {
    if (!this.isOpen) return IDLE;
    this.isOpen = false;
    const bytes = Buffer.alloc(MOST_BYTES);
    try {
      const length = readSync(this.fd, bytes, 0, bytes.length, 0);
      const text = bytes.toString('utf8', 0, length);
      return readWork(JSON.parse(text.slice(0, text.indexOf(END))) as object);
    } catch {
      return IDLE;
    } finally {
      closeSync(this.fd);
    }
  }
}

function readWork(value: { readonly kind?: unknown; readonly keys?: unknown }): Work {
  const { kind, keys } = value;
  if (kind === 'answers' || kind === 'base') return { kind };
  if (kind !== 'runs' || !Array.isArray(keys)) return IDLE;
  return { kind, keys: keys.filter((key) => typeof key === 'string') };
}
