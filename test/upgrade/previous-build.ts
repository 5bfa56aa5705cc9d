// The API of the build before the newest migration, built from the repository's history.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MIGRATIONS = 'apps/api/src/database/migrations';
const git = (...args: string[]): string =>
  execFileSync('git', args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();

/**
 * Returns the commit before the one that added the newest migration, or HEAD while there is only the initial one; null
 * if the history does not go back that far.
 */
export function previousCommit(): string | null {
  try {
    const present = git('ls-tree', '--name-only', 'HEAD', `${MIGRATIONS}/`).match(/[.]ts$/gm);
    if (present?.length === 1) return git('rev-parse', 'HEAD');
    const paths = `:(glob)${MIGRATIONS}/*.ts`;
    const newest = git('log', '--diff-filter=A', '--format=%H', '-1', '--', paths);
    return git('rev-parse', '--verify', `${newest}^`);
  } catch {
    return null;
  }
}

/** Compiles that commit's API with the installed packages. @returns its folder */
export function buildPrevious(commit: string): string {
  const folder = join(ROOT, '.cache', 'previous-builds', commit.slice(0, 12));
  if (existsSync(folder)) return folder;
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  try {
    const archive = join(fresh, 'sources.tar');
    git(
      'archive',
      '-o',
      archive,
      commit,
      'apps',
      'libs',
      'tsconfig.json',
      'tsconfig.base.json',
      'package.json',
    );
    execFileSync('tar', ['-xf', archive, '-C', fresh]);
    linkPackages(fresh);
    const compiler = join(ROOT, 'node_modules', 'tsc7', 'bin', 'tsc');
    execFileSync(process.execPath, [compiler, '-b', 'apps/api'], { cwd: fresh, stdio: 'inherit' });
    renameSync(fresh, folder);
    return folder;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/**
 * Creates hard links, because the old build's sandbox can open only files of its own folder. The links to our packages
 * are relative, so they resolve to the old ones.
 */
function linkPackages(folder: string): void {
  for (const at of ['.', 'apps/api', 'libs/contracts', 'libs/peft-core', 'libs/kernels'])
    if (existsSync(join(ROOT, at, 'node_modules')))
      execFileSync('cp', ['-al', join(ROOT, at, 'node_modules'), join(folder, at)]);
}
