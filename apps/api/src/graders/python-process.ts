// One run of an interpreter that the operator has named, confined by util-linux: namespaces of its own without a
// network, with no process but its own and without folders that others use, limits of the kernel, another user, no way
// back to privileges. Each of the programs becomes the next; `unshare` stays above, and takes all below with it when it
// is killed.
import { execFile, spawn } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { usageOfTree } from './process-tree.js';

/** Limits of a run, of all its processes together. */
export interface Limits {
  /** Of the processor. */
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly memoryBytes: number;
  /** Of each of stdout and stderr. */
  readonly outputBytes: number;
  readonly processes: number;
  readonly openFiles: number;
}

export const LIMITS: Limits = {
  cpuSeconds: 20,
  wallSeconds: 30,
  memoryBytes: 1024 ** 3,
  outputBytes: 64 * 1024,
  processes: 64,
  openFiles: 64,
};

/** Between two looks at what a run's processes take together; the kernel holds each alone to the same limits. */
const LOOK_MS = 100;

/** Where everybody may write, or where servers' sockets lie. */
const SHARED = ['/tmp', '/var/tmp', '/dev/shm', '/run'];

/** Lays an empty folder over each of so many places, and becomes what follows them. */
const HIDE =
  'n=$1; shift; while [ "$n" -gt 0 ]; do mount -t tmpfs -o ro,mode=755,size=4k none "$1"; shift; n=$((n-1)); done; exec "$@"';

/** The user of GRAFT_PYTHON_USER that means the API's own. */
export const SELF = 'self';

/**
 * A user namespace of the run's own counts its processes: all runs are one user, and the kernel counts by user. Where
 * the system forbids such namespaces, the limit of processes is of all runs together.
 */
const OWN_USERS = ['unshare', '--user', '--map-current-user', '--keep-caps'];
/** It gives its maker every capability there. */
const NO_CAPABILITIES = ['--ambient-caps=-all', '--inh-caps=-all', '--bounding-set=-all'];
/** The signal is lost with each change of the user: where the first `unshare` ends, all below ends. */
const LAST = ['--no-new-privs', '--pdeathsig', 'KILL'];

export interface Confinement {
  readonly command: readonly string[];
  /** Whom it must find itself to be. */
  readonly uid: number;
  /** Folders that it must find empty. */
  readonly hidden: readonly string[];
  readonly limits: Limits;
}

/** A program could not be started: that says nothing of what the system can do. */
export class NotTried extends Error {}

/** What programs, Node.js and this file say where memory, processes, file descriptors or time have run out. */
const TRANSIENT = [
  /\b(ENOMEM|EAGAIN|EMFILE|ENFILE|MemoryError)\b/,
  /cannot allocate memory|resource temporarily unavailable|too many open files|cannot fork/i,
  /\bkilled\b|\bSIG(KILL|TERM)\b/i,
  /timed out|it took longer than/i,
];

/** Whether the system may do later what it did not do now. Every other failure lasts until somebody changes the system. */
export const isTransient = (said: string): boolean =>
  TRANSIENT.some((pattern) => pattern.test(said));

/**
 * @param folders whose files may be readable for any user, and are not the code's to read
 * @throws Error with what is missing, for whoever is refused; NotTried where nobody can tell
 */
export async function confinementOf(
  python: string,
  user: string | null,
  folders: readonly string[],
  of: Limits = LIMITS,
): Promise<Confinement> {
  if (process.platform !== 'linux') throw new Error('only Linux can confine it');
  if (user === null)
    throw new Error(
      'GRAFT_PYTHON_USER is not set: name a user of its own for code of others, or "self" for the API’s own, whose files it could read',
    );
  const isRoot = process.getuid?.() === 0;
  if (user === SELF && isRoot)
    throw new Error('GRAFT_PYTHON_USER=self is not for an API that runs as root');
  if (user !== SELF && !isRoot)
    throw new Error(
      'GRAFT_PYTHON_USER needs an API that runs as root, or "self": nobody else can start a process as another user',
    );
  const spaces = ['--net', '--pid', '--ipc', '--fork', '--kill-child'];
  const limits = [
    'prlimit',
    '--core=0:0',
    '--fsize=0:0',
    `--cpu=${of.cpuSeconds}:${of.cpuSeconds}`,
    `--as=${of.memoryBytes}:${of.memoryBytes}`,
    `--nofile=${of.openFiles}:${of.openFiles}`,
  ];
  const processes = ['prlimit', `--nproc=${of.processes}:${of.processes}`];
  // The first process of a namespace has no default actions of signals, so that limits would not end it: a shell is.
  const interpreter = ['sh', '-c', '"$@"; exit $?', 'sh', python, '-I', '-B'];
  if (user === SELF) {
    const command = [
      ...OWN_USERS,
      ...spaces,
      ...limits,
      ...processes,
      ...['setpriv', ...NO_CAPABILITIES, ...LAST],
      ...interpreter,
    ];
    return { command, uid: process.getuid?.() ?? -1, hidden: [], limits: of };
  }
  const [uid, gid] = [await idOf('-u', user), await idOf('-g', user)];
  if (uid === 0) throw new Error('GRAFT_PYTHON_USER must be another user than root');
  const as = [
    ...['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--bounding-set=-all'],
  ];
  const isAlone = (await outputOf([...as, ...OWN_USERS, 'true'])) !== null;
  const hidden = await outermost([...SHARED, ...folders]);
  const command = [
    'unshare',
    ...spaces,
    '--mount-proc',
    ...['sh', '-ec', HIDE, 'sh', String(hidden.length), ...hidden],
    ...limits,
    ...as,
    ...(isAlone ? OWN_USERS : []),
    ...processes,
    ...['setpriv', ...(isAlone ? NO_CAPABILITIES : []), ...LAST],
    ...interpreter,
  ];
  return { command, uid, hidden, limits: of };
}

/** What the program writes; null where it fails. @throws NotTried where it may do better later */
async function outputOf([program = '', ...args]: readonly string[]): Promise<string | null> {
  try {
    return (await promisify(execFile)(program, args)).stdout;
  } catch (error) {
    const { message, signal } = error as Error & { readonly signal?: string | null };
    if (isTransient(`${message}\n${signal ?? ''}`)) throw new NotTried(message);
    return null;
  }
}

/** Those of the folders that are there, and in no other of them. */
async function outermost(folders: readonly string[]): Promise<string[]> {
  const real = await Promise.all(folders.map((path) => realpath(path).catch(() => [])));
  const found = [...new Set(real.flat())];
  return found.filter((path) => !found.some((other) => path.startsWith(`${other}/`)));
}

async function idOf(flag: string, user: string): Promise<number> {
  const id = await outputOf(['id', flag, '--', user]);
  if (id === null) throw new Error(`there is no user "${user}" on this system (GRAFT_PYTHON_USER)`);
  return Number(id);
}

export interface Finished {
  readonly stdout: string;
  readonly stderr: string;
  /** Why it was ended, or null. */
  readonly ended: string | null;
}

/** Runs a script that reads `input`; never rejects for anything that the script does. */
export function runPython(
  { command, limits }: Confinement,
  script: string,
  input: string,
  stop: AbortSignal,
): Promise<Finished> {
  const [program = '', ...args] = command;
  return new Promise((resolve) => {
    const child = spawn(program, [...args, '-c', script], {
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let ended: string | null = null;
    const end = (why: string): void => {
      ended ??= why;
      child.kill('SIGKILL');
    };
    child.once('error', (error) => end(error.message));
    // With no file descriptors left, spawn() gives a child without streams that never closes.
    if ((child.stdin as Writable | undefined) === undefined) {
      child.once('error', () => resolve({ stdout: '', stderr: '', ended }));
      return;
    }
    const timer = setTimeout(
      () => end(`it took longer than ${limits.wallSeconds} s`),
      limits.wallSeconds * 1000,
    );
    const looking = setInterval(() => {
      const { bytes, cpuSeconds } = usageOfTree(child.pid ?? 0);
      if (bytes > limits.memoryBytes)
        end(
          `its processes used more than ${Math.round(limits.memoryBytes / 2 ** 20)} MiB of memory`,
        );
      if (cpuSeconds > limits.cpuSeconds)
        end(`its processes used more than ${limits.cpuSeconds} s of the processor`);
    }, LOOK_MS);
    const left = (): void => end('nobody waits for it any more');
    stop.addEventListener('abort', left, { once: true });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (said[name].length + text.length > limits.outputBytes)
          end(`it wrote more than ${limits.outputBytes} bytes`);
        else said[name] += text;
      });
    // It may end before it has read all.
    child.stdin.on('error', () => undefined).end(input);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      clearInterval(looking);
      stop.removeEventListener('abort', left);
      resolve({ ...said, ended: ended ?? killedBy(code, signal, limits) });
    });
  });
}

/** `unshare` ends with 128 and the number of the signal that has ended what it started. */
function killedBy(
  code: number | null,
  signal: NodeJS.Signals | null,
  limits: Limits,
): string | null {
  if (code === 0) return null;
  if (code === 128 + 24 || code === 128 + 9 || signal === 'SIGXCPU' || signal === 'SIGKILL')
    return `it used more than ${limits.cpuSeconds} s of the processor, or was killed`;
  return `it ended with ${signal ?? code}`;
}
