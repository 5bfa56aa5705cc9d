// Sandbox of trainers, which process users' models and data. A trainer cannot gain privileges, writes no core dumps and has
// few open files. If the worker runs as root and a user is configured, it runs as that user and without a network. The
// programs of util-linux set this up and exec each other, so that the process ID and group stay the same.
import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { DomainError } from '@graft/contracts';

/** User that trainers run as, if it differs from the worker's. */
export interface TrainerUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface Sandbox {
  /** Command prefix of the trainer. */
  readonly prefix: readonly string[];
  readonly user: TrainerUser | null;
  /** Restrictions that this system does not support, for the log. */
  readonly missing: readonly string[];
}

/** Maximum open files. Weight files are mapped and closed; pipes, devices and a few files stay open. */
const OPEN_FILES = 1024;

/**
 * Determines which restrictions this system supports. Unsupported ones are skipped and returned, but never the user.
 * @throws DomainError that names the flag if trainers cannot run as the requested user
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
    throw refused(`requires setpriv of util-linux, which cannot switch to ${user.name} here`);
  return { prefix, user, missing };
}

/** @throws DomainError if trainers cannot read a file or enter a folder that they need */
export function checkReach({ prefix, user }: Sandbox, file: string, folder: string): void {
  if (user === null) return;
  for (const [test, path] of [
    ['-r', file],
    ['-x', folder],
  ] as const)
    if (!works([...prefix, 'test', test, path]))
      throw refused(
        `${user.name} cannot access ${path}; give it execute permission on the parent folders`,
      );
}

/**
 * Creates a folder for a trainer's files that only its user and root may enter. It must not be inside another such folder,
 * where a trainer could replace it by a link before the owner changes.
 */
export async function makeTrainerFolder(path: string, user: TrainerUser | null): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  if (user !== null) await chown(path, user.uid, user.gid);
}

/** Creates a parent folder of trainers' folders, which trainers can traverse but not change. */
export async function makePassage(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o711);
}

function findUser(name: string): TrainerUser {
  if (process.getuid?.() !== 0)
    throw refused(
      'requires a worker that runs as root, since only root can start processes as another user',
    );
  const number = (flag: string): number => {
    try {
      return Number(
        execFileSync('id', [flag, '--', name], { stdio: ['ignore', 'pipe', 'ignore'] }),
      );
    } catch {
      throw refused(`"${name}" does not exist on this system`);
    }
  };
  const user = { name, uid: number('-u'), gid: number('-g') };
  if (user.uid === 0) throw refused('must not be root');
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
