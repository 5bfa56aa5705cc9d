// What a program that reads strangers' files is started behind. It decodes them with libraries in C; whoever takes it
// over finds the file that was given to it and nothing else: no other file, no network, no other process, no more memory.
// The programs of util-linux do it, without privileges, and each becomes the next, so that the process keeps its id.
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
/** Pictures of some megapixels are decoded with less, but not many at once. */
const LEAST_BYTES = 700e6;
/** Of the memory that the API may use: six such processes can run at once. */
const SHARE = 1 / 7;
/** Of a process's memory: what its JavaScript may take, without what it decodes. */
const HEAP_SHARE = 0.6;
const OPEN_FILES = 256;
const FILTER_FD = 3;
/** What Landlock forbids but for what is allowed: all, or all that Linux 5.13 knows. */
const ALL_RIGHTS = 'fs';
const OLDER_RIGHTS =
  'fs:execute,write-file,read-file,read-dir,remove-dir,remove-file,make-char,make-dir,make-reg,make-sock,make-fifo,make-block,make-sym';

/** What any program of Node needs. The system's configuration is not among it. */
const NEEDED = [
  '/usr',
  '/lib',
  '/lib64',
  '/etc/ld.so.cache',
  '/etc/localtime',
  '/dev/null',
  '/dev/urandom',
  // Its own: the process keeps its id.
  ...['/proc/self', '/proc/meminfo', '/proc/stat', '/proc/cpuinfo', '/proc/sys/vm'],
  '/sys/fs/cgroup',
  process.execPath,
  ...['package.json', 'node_modules', 'apps/api', 'libs'].map((path) => join(CHECKOUT, path)),
];

interface Sandbox {
  /** Goes before the command, which can open only these files, and what is in these folders. */
  prefix(readable: readonly string[]): string[];
  /** Open for each start; null: without a filter. */
  readonly filterFd: number | null;
  /** What this system does not have, in words for the log. */
  readonly missing: readonly string[];
}

export interface Reading {
  /** The program's file. */
  readonly script: string;
  readonly arguments?: readonly string[];
  /** Files that it may open, and folders of such files. */
  readonly readable: readonly string[];
  /** It writes its results to stdout and its errors to stderr, or sends and receives messages. */
  readonly speaks: 'output' | 'messages';
  /** It is killed when this aborts. */
  readonly signal?: AbortSignal;
}

/** Bytes that each process that reads files may allocate. */
const READER_BYTES = Math.min(MOST_BYTES, Math.max(LEAST_BYTES, SHARE * memoryBytes()));

let opened: Sandbox | undefined;

/** What this system lacks, in words: files are read without it. */
export function missingOfSandbox(): readonly string[] {
  return sandbox().missing;
}

/** Starts it without the API's environment. */
export function startReader(reading: Reading): ChildProcess {
  const { prefix, filterFd } = sandbox();
  const readable = [...NEEDED, reading.script, ...reading.readable];
  const heapMb = Math.floor((HEAP_SHARE * READER_BYTES) / 1e6);
  const node = [process.execPath, `--max-old-space-size=${heapMb}`, reading.script];
  const [program = '', ...args] = [...prefix(readable), ...node, ...(reading.arguments ?? [])];
  const output = reading.speaks === 'output' ? 'pipe' : 'ignore';
  return spawn(program, args, {
    // OpenSSL's configuration is not needed, and Node does not start where it may not read it.
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

/** Tries what this system can do; what it lacks is left out and named. */
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
  // Root would keep its capabilities otherwise; nobody else may drop what nobody else has.
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

/** Reading these files, and what is in these folders; nothing else of the file system. */
function landlock(all: string, readable: readonly string[]): string[] {
  const rules = [...new Set(readable)].filter(existsSync).flatMap((path) => {
    const rights = statSync(path).isDirectory()
      ? 'execute,read-file,read-dir'
      : 'execute,read-file';
    return ['--landlock-rule', `path-beneath:${rights}:${path}`];
  });
  return ['--landlock-access', all, ...rules];
}

/** A file without a name, so that nobody has to remove it. */
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
