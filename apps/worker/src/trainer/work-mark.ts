// Record of the work in progress in a trainer process. It survives any exit of the process, because it is in an unnamed file
// that the parent keeps open and reads afterwards. Written bytes are immediately in the kernel.
import { closeSync, existsSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyOf, type AttemptKey } from '../protocol/protocol.js';

/**
 * Work in progress. `idle`: none, or unknown. `runs`: work of one run, or shared by several, with their keys. `answers`: a
 * step of model requests. `base`: loading the base.
 */
export type Work =
  | { readonly kind: 'idle' | 'answers' | 'base' }
  | { readonly kind: 'runs'; readonly keys: readonly string[] };

export const IDLE: Work = { kind: 'idle' };

/** File descriptor of the file in the trainer. */
export const MARK_FD = 3;
/** Environment variable that is set if the trainer has the file. */
export const MARK_VARIABLE = 'GRAFT_WORK_MARK';

/** Folder of the file: in memory if available, where a write takes 2 µs and causes no disk I/O. */
const FOLDER = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
/** Maximum size of a record. A larger one is replaced by idle, so that all runs count as involved. */
const MAX_BYTES = 64 << 10;
const END = '\n';

const line = (work: Work): Buffer => Buffer.from(`${JSON.stringify(work)}${END}`);
const IDLE_LINE = line(IDLE);
const ANSWERS_LINE = line({ kind: 'answers' });
const BASE_LINE = line({ kind: 'base' });

/** Trainer's side. Each call records the work that follows it, until the next call. */
export class WorkMark {
  private last = IDLE_LINE;
  /** Cached lines of single runs, which are written at every step. */
  private readonly lines = new WeakMap<AttemptKey, Buffer>();

  /** @param fd descriptor of the file; null to record nothing */
  constructor(private readonly fd: number | null) {}

  /** Returns the mark that this process was started with, if any. */
  static inherited(): WorkMark {
    return new WorkMark(process.env[MARK_VARIABLE] === undefined ? null : MARK_FD);
  }

  idle(): void {
    this.write(IDLE_LINE);
  }

  /** Records work of a run, or a forward pass of several. */
  runs(keys: readonly AttemptKey[]): void {
    const [only] = keys;
    if (only === undefined || keys.length > 1)
      return this.write(line({ kind: 'runs', keys: keys.map(keyOf) }));
    const entry = this.lines.get(only) ?? line({ kind: 'runs', keys: [keyOf(only)] });
    this.lines.set(only, entry);
    this.write(entry);
  }

  answers(): void {
    this.write(ANSWERS_LINE);
  }

  base(): void {
    this.write(BASE_LINE);
  }

  private write(bytes: Buffer): void {
    if (this.fd === null || bytes === this.last) return;
    this.last = bytes.length > MAX_BYTES ? IDLE_LINE : bytes;
    writeSync(this.fd, this.last, 0, this.last.length, 0);
  }
}

/** Parent's side. */
export class WorkMarkFile {
  private isOpen = true;

  private constructor(readonly fd: number) {}

  static open(): WorkMarkFile {
    const path = join(FOLDER, `graft-mark-${randomUUID()}`);
    const fd = openSync(path, 'wx+', 0o600);
    // Without a name, no one else can open the file, and it is deleted when both ends are closed.
    rmSync(path, { force: true });
    writeSync(fd, IDLE_LINE, 0, IDLE_LINE.length, 0);
    return new WorkMarkFile(fd);
  }

  /** Returns the last recorded work and closes the file. A compromised trainer may have written anything. */
  take(): Work {
    if (!this.isOpen) return IDLE;
    this.isOpen = false;
    const bytes = Buffer.alloc(MAX_BYTES);
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
