// Sandbox of programs that decode untrusted files with C libraries. A compromised program can read the file
// that it was given, but no other file, network or process, and cannot allocate more memory. Programs of
// util-linux set it up without privileges. Each executes the next one, so the process ID stays the same.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { CHECKOUT } from '../scripts.js';
import { systemCallFilter } from './system-call-filter.js';

const MOST_BYTES = 1.5e9;
/** Minimum of the limit. Less is enough for one image of a few megapixels, but not for many at a time. */
const LEAST_BYTES = 700e6;
/** Fraction of the API's memory. Up to six of these processes run concurrently. */
const SHARE = 1 / 7;
/** Fraction of a process's memory for the JavaScript heap. Decoded data is outside the heap. */
const HEAP_SHARE = 0.6;
const OPEN_FILES = 256;
const FILTER_FD = 3;
/** Landlock rights that are denied unless a rule allows them: all of them, or all that Linux 5.13 knows. */
const ALL_RIGHTS = 'fs';
const OLDER_RIGHTS =
  'fs:execute,write-file,read-file,read-dir,remove-dir,remove-file,make-char,make-dir,make-reg,make-sock,make-fifo,make-block,make-sym';

/** Files that every Node.js program needs. The system's configuration is not included. */
const NEEDED = [
  '/usr',
  '/lib',
  '/lib64',
  '/etc/ld.so.cache',
  '/etc/localtime',
  '/dev/null',
  '/dev/urandom',
  // The process's own entry: its ID stays the same.
  ...['/proc/self', '/proc/meminfo', '/proc/stat', '/proc/cpuinfo', '/proc/sys/vm'],
  '/sys/fs/cgroup',
  process.execPath,
  ...['package.json', 'node_modules', 'apps/api', 'libs'].map((path) => join(CHECKOUT, path)),
];

interface Sandbox {
  /** Returns the command prefix that restricts reading to these files and to the content of these folders. */
  prefix(readable: readonly string[]): string[];
  /** File descriptor of the filter, which each start inherits; null without a filter. */
  readonly filterFd: number | null;
  /** Limits that this system does not support, as text for the log. */
  readonly missing: readonly string[];
}

export interface ReaderOptions {
  /** Path of the program. */
  readonly script: string;
  readonly arguments?: readonly string[];
  /** Files, and folders of files, that it may open. */
  readonly readable: readonly string[];
  /** `output`: results on stdout and errors on stderr. `messages`: sends and receives messages. */
  readonly speaks: 'output' | 'messages';
  /** Kills the process when aborted. */
  readonly signal?: AbortSignal;
}

/** Memory in bytes that a process that reads files may allocate. */
const READER_BYTES = Math.min(MOST_BYTES, Math.max(LEAST_BYTES, SHARE * memoryBytes()));

let opened: Sandbox | undefined;

/** Limits that this system does not support, as text. Files are read without them. */
export function missingSandboxFeatures(): readonly string[] {
  return sandbox().missing;
}

/** Starts the program in the sandbox, without the API's environment variables. */
export function startReader(reading: ReaderOptions): ChildProcess {
  const { prefix, filterFd } = sandbox();
  const readable = [...NEEDED, reading.script, ...reading.readable];
  const heapMb = Math.floor((HEAP_SHARE * READER_BYTES) / 1e6);
  const node = [process.execPath, `--max-old-space-size=${heapMb}`, reading.script];
  const [program = '', ...args] = [...prefix(readable), ...node, ...(reading.arguments ?? [])];
  const output = reading.speaks === 'output' ? 'pipe' : 'ignore';
  return spawn(program, args, {
    // Node.js does not start if it cannot read OpenSSL's configuration, which is not needed here.
    env: { PATH: process.env['PATH'], OPENSSL_CONF: '/dev/null' },
    stdio: [
      'ignore',
      output,
      output,
      filterFd ?? 'ignore',
      ...(reading.speaks === 'messages' ? (['ipc'] as const) : []),
    ],
    ...(reading.signal && { signal: reading.signal }),
    killSignal: 'SIGKILL',
  });
}

function sandbox(): Sandbox {
  return (opened ??= openSandbox());
}

/** Tests which limits this system supports. Others are omitted and listed in `missing`. */
function openSandbox(): Sandbox {
  if (process.platform !== 'linux')
    return { prefix: () => [], filterFd: null, missing: ['all limits (they need Linux)'] };
  const missing: string[] = [];
  const works = (prefix: readonly string[], fd: number | null = null): boolean => {
    const [program = '', ...args] = prefix;
    try {
      const stdio = ['ignore', 'ignore', 'ignore', fd ?? 'ignore'] as const;
      execFileSync(program, [...args, 'true'], { stdio: [...stdio], timeout: 10_000 });
      return true;
    } catch {
      return false;
    }
  };
  const bytes = Math.round(READER_BYTES);
  const limits = [
    'prlimit',
    '--core=0:0',
    `--data=${bytes}:${bytes}`,
    `--nofile=${OPEN_FILES}:${OPEN_FILES}`,
  ];
  if (!works(limits)) {
    missing.push('the memory limit (prlimit)');
    limits.length = 0;
  }
  // Root would keep its capabilities otherwise. Other users have none and may not drop any.
  const dropped = process.getuid?.() === 0 ? ['--bounding-set=-all', '--inh-caps=-all'] : [];
  const bare = ['setpriv', '--pdeathsig', 'KILL', '--no-new-privs', ...dropped];
  if (!works(bare))
    return {
      prefix: () => limits,
      filterFd: null,
      missing: [...missing, 'blocking other files and the network (setpriv)'],
    };
  const rights = [ALL_RIGHTS, OLDER_RIGHTS].find((all) =>
    works([...bare, ...landlock(all, NEEDED)]),
  );
  if (rights === undefined)
    missing.push('blocking other files (setpriv of util-linux 2.40, Landlock)');
  const filterFd = filterFile();
  const filter = ['--seccomp-filter', `/proc/self/fd/${FILTER_FD}`];
  const hasFilter = filterFd !== null && works([...bare, ...filter], filterFd);
  if (!hasFilter) missing.push('blocking the network (setpriv of util-linux 2.40, seccomp)');
  if (filterFd !== null && !hasFilter) closeSync(filterFd);
  return {
    prefix: (readable) => [
      ...limits,
      ...bare,
      ...(rights === undefined ? [] : landlock(rights, readable)),
      ...(hasFilter ? filter : []),
    ],
    filterFd: hasFilter ? filterFd : null,
    missing,
  };
}

/** Landlock options that allow reading these files and the content of these folders, and nothing else. */
function landlock(all: string, readable: readonly string[]): string[] {
  const rules = [...new Set(readable)].filter(existsSync).flatMap((path) => {
    const rights = statSync(path).isDirectory()
      ? 'execute,read-file,read-dir'
      : 'execute,read-file';
    return ['--landlock-rule', `path-beneath:${rights}:${path}`];
  });
  return ['--landlock-access', all, ...rules];
}

/** Opens a deleted file with the filter, so that no cleanup is needed. */
function filterFile(): number | null {
  const filter = systemCallFilter(process.arch);
  if (filter === null) return null;
  const folder = mkdtempSync(join(tmpdir(), 'graft-filter-'));
  try {
    const path = join(folder, 'filter');
    writeFileSync(path, filter);
    return openSync(path, 'r');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
