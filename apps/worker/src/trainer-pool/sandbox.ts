// What a trainer is started behind. It reads the models and data of users: it can gain no privileges, leaves
// no core, holds few files open and, where the worker runs as root and a user was named, runs as that user
// and without a network. util-linux does it, and each of its programs becomes the next, so that process id
// and process group stay.
import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { DomainError } from '@graft/contracts';

/** The user that trainers run as, where it is another than the worker's. */
export interface TrainerUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface Sandbox {
  /** Goes before the trainer's own command. */
  readonly prefix: readonly string[];
  readonly user: TrainerUser | null;
  /** What could not be had on this system, for the log. */
  readonly missing: readonly string[];
}

/** Weights are mapped and closed again; what stays open are pipes, devices and a few files. */
const OPEN_FILES = 1024;

/**
 * Tries what this system can do. What it lacks is left out and named; a user is never left out.
 * @throws DomainError naming the flag, if a user was asked for that trainers cannot have
 */
export function openSandbox(userName: string | null): Sandbox {
  const user = userName === null ? null : findUser(userName);
  const prefix: string[] = [];
  const missing: string[] = [];
  const add = (part: readonly string[], loss: string): boolean => {
    const has = works([...prefix, ...part, 'true']);
    if (has) prefix.push(...part);
    else missing.push(loss);
    return has;
  };
  if (user !== null) add(['unshare', '--net'], 'no network (unshare)');
  add(
    ['prlimit', '--core=0:0', `--nofile=${OPEN_FILES}:${OPEN_FILES}`],
    'no cores, few open files (prlimit)',
  );
  const as = user ? [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--init-groups'] : [];
  if (!add(['setpriv', '--no-new-privs', ...as], 'no new privileges (setpriv)') && user !== null)
    throw refused(`needs setpriv of util-linux, which cannot become ${user.name} here`);
  return { prefix, user, missing };
}

/** @throws DomainError if trainers may not read a file or enter a folder that they need */
export function checkReach({ prefix, user }: Sandbox, file: string, folder: string): void {
  if (user === null) return;
  for (const [test, path] of [
    ['-r', file],
    ['-x', folder],
  ] as const)
    if (!works([...prefix, 'test', test, path]))
      throw refused(`${user.name} cannot reach ${path}: let it enter the folders above`);
}

/**
 * A folder for one trainer's files: only its user, and root, may enter. Never in another such folder, where a
 * trainer could put a link in its place before it changes hands.
 */
export async function makeTrainerFolder(path: string, user: TrainerUser | null): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  if (user !== null) await chown(path, user.uid, user.gid);
}

/** A folder above trainers' own: they pass through it and can change nothing in it. */
export async function makePassage(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o711);
}

function findUser(name: string): TrainerUser {
  if (process.getuid?.() !== 0)
    throw refused('needs a worker that runs as root: nobody else can start a process as another');
  const number = (flag: string): number => {
    try {
      return Number(
        execFileSync('id', [flag, '--', name], { stdio: ['ignore', 'pipe', 'ignore'] }),
      );
    } catch {
      throw refused(`there is no user "${name}" on this system`);
    }
  };
  const user = { name, uid: number('-u'), gid: number('-g') };
  if (user.uid === 0) throw refused('must be another user than root');
  return user;
}

function works([program = '', ...args]: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore', timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

const refused = (why: string): DomainError =>
  new DomainError('invalid_value', `--trainer-user ${why}`, 'trainer-user');
