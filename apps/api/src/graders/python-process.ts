// Runs the interpreter that the operator configured, confined by util-linux: separate namespaces without a network,
// other processes or shared folders, kernel limits, another user, and no way to regain privileges. Each program
// executes the next one; `unshare` remains as their parent and kills all of them when it is killed.
import { execFile, spawn } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { usageOfTree } from './process-tree.js';

/** Limits of a run, for all of its processes together. */
export interface Limits {
  /** CPU time. */
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly memoryBytes: number;
  /** Maximum bytes of stdout, and of stderr. */
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

/** Interval at which the total usage of a run is checked. The kernel enforces the same limits for each process. */
const LOOK_MS = 100;

/** World-writable folders, and those that contain sockets of servers. */
const SHARED = ['/tmp', '/var/tmp', '/dev/shm', '/run'];

/** Shell code that mounts an empty folder over each of several paths, then executes the rest of its arguments. */
const HIDE =
  'n=$1; shift; while [ "$n" -gt 0 ]; do mount -t tmpfs -o ro,mode=755,size=4k none "$1"; shift; n=$((n-1)); done; exec "$@"';

/** Value of GRAFT_PYTHON_USER for the API's own user. */
export const SELF = 'self';

/**
 * Creates a user namespace, which counts the processes of the run: all runs have the same user, and the kernel counts
 * by user. If the system does not allow user namespaces, the limit of processes applies to all runs together.
 */
const OWN_USERS = ['unshare', '--user', '--map-current-user', '--keep-caps'];
/** The creator of a user namespace has all capabilities in it; these options drop them. */
const NO_CAPABILITIES = ['--ambient-caps=-all', '--inh-caps=-all', '--bounding-set=-all'];
/**
 * Options of the last program. A change of the user clears the signal; if the first `unshare` ends, everything below
 * it ends.
 */
const LAST = ['--no-new-privs', '--pdeathsig', 'KILL'];

export interface Confinement {
  readonly command: readonly string[];
  /** User id that the probe must report. */
  readonly uid: number;
  /** Folders that must be empty for the probe. */
  readonly hidden: readonly string[];
  readonly limits: Limits;
}

/** A program could not be started, which says nothing about the system's features. */
export class StartFailure extends Error {}

/** Messages of programs, Node.js and this file when memory, processes, file descriptors or time have run out. */
const TRANSIENT = [
  /\b(ENOMEM|EAGAIN|EMFILE|ENFILE|MemoryError)\b/,
  /cannot allocate memory|resource temporarily unavailable|too many open files|cannot fork/i,
  /\bkilled\b|\bSIG(KILL|TERM)\b/i,
  /timed out|it took longer than/i,
];

/** Whether a retry may succeed. Every other failure lasts until the system is changed. */
export const isTransient = (output: string): boolean =>
  TRANSIENT.some((pattern) => pattern.test(output));

/**
 * Builds the command that confines a run.
 * @param folders folders that the code must not read, even if all users may
 * @throws Error with the missing feature, for the error message; StartFailure if it could not be determined
 */
export async function confinementOf(
  python: string,
  user: string | null,
  folders: readonly string[],
  of: Limits = LIMITS,
): Promise<Confinement> {
  if (process.platform !== 'linux') throw new Error('confinement requires Linux');
  if (user === null)
    throw new Error(
      'GRAFT_PYTHON_USER is not set; set it to a separate user for untrusted code, or to "self" for the API’s user, whose files the code could read',
    );
  const isRoot = process.getuid?.() === 0;
  if (user === SELF && isRoot)
    throw new Error('GRAFT_PYTHON_USER=self is not allowed for an API that runs as root');
  if (user !== SELF && !isRoot)
    throw new Error(
      'GRAFT_PYTHON_USER requires an API that runs as root, or the value "self"; only root can start a process as another user',
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
  // The first process of a PID namespace has no default signal actions, so limits would not end it. A shell takes
  // that place.
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
  if (uid === 0) throw new Error('GRAFT_PYTHON_USER must be a user other than root');
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

/**
 * Returns the output of a program, or null if it fails.
 * @throws StartFailure if a retry may succeed
 */
async function outputOf([program = '', ...args]: readonly string[]): Promise<string | null> {
  try {
    return (await promisify(execFile)(program, args)).stdout;
  } catch (error) {
    const { message, signal } = error as Error & { readonly signal?: string | null };
    if (isTransient(`${message}\n${signal ?? ''}`)) throw new StartFailure(message);
    return null;
  }
}

/** Returns the existing folders that are not inside another one of them. */
async function outermost(folders: readonly string[]): Promise<string[]> {
  const real = await Promise.all(folders.map((path) => realpath(path).catch(() => [])));
  const found = [...new Set(real.flat())];
  return found.filter((path) => !found.some((other) => path.startsWith(`${other}/`)));
}

async function idOf(flag: string, user: string): Promise<number> {
  const id = await outputOf(['id', flag, '--', user]);
  if (id === null)
    throw new Error(`user "${user}" does not exist on this system (GRAFT_PYTHON_USER)`);
  return Number(id);
}

export interface Finished {
  readonly stdout: string;
  readonly stderr: string;
  /** Reason why it was stopped, or null. */
  readonly ended: string | null;
}

/** Runs a script with `input` as its stdin. It never rejects because of the script. */
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
    // If no file descriptors are left, spawn() returns a child without streams that never closes.
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
        end(`its processes used more than ${limits.cpuSeconds} s of CPU time`);
    }, LOOK_MS);
    const left = (): void => end('the request was canceled');
    stop.addEventListener('abort', left, { once: true });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (output[name].length + text.length > limits.outputBytes)
          end(`it wrote more than ${limits.outputBytes} bytes`);
        else output[name] += text;
      });
    // The process may end before it has read its input.
    child.stdin.on('error', () => undefined).end(input);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      clearInterval(looking);
      stop.removeEventListener('abort', left);
      resolve({ ...output, ended: ended ?? killedBy(code, signal, limits) });
    });
  });
}

/** Returns why the process ended. `unshare` exits with 128 plus the number of the signal that ended its child. */
function killedBy(
  code: number | null,
  signal: NodeJS.Signals | null,
  limits: Limits,
): string | null {
  if (code === 0) return null;
  if (code === 128 + 24 || code === 128 + 9 || signal === 'SIGXCPU' || signal === 'SIGKILL')
    return `it used more than ${limits.cpuSeconds} s of CPU time or was killed`;
  return `it ended with ${signal ?? code}`;
}
