// The API of the build before the newest migration, built from the repository's history.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { ApiConfig } from '@graft/api';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MIGRATIONS = 'apps/api/src/database/migrations';
const git = (...args: string[]): string =>
  execFileSync('git', args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();

/**
 * The commit before the one that added the newest migration, or HEAD while there is only the initial one; null where the
 * history does not go back so far.
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

/** Compiles that commit's API with the packages that are installed here. @returns its folder */
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
 * Hard links, because the sandbox of the old build can open only files of its own folder. The links to our packages are
 * relative, so they lead to the old ones.
 */
function linkPackages(folder: string): void {
  for (const at of ['.', 'apps/api', 'libs/contracts', 'libs/peft-core', 'libs/kernels'])
    if (existsSync(join(ROOT, at, 'node_modules')))
      execFileSync('cp', ['-al', join(ROOT, at, 'node_modules'), join(folder, at)]);
}

export interface PreviousApi {
  readonly url: string;
  readonly grpcUrl: string;
  /** Lines of its log from `error` on. */
  readonly errors: () => string[];
  stop(): Promise<void>;
}

/** Starts the old API as a process of its own. */
export async function startPrevious(folder: string, config: ApiConfig): Promise<PreviousApi> {
  const index = pathToFileURL(join(folder, 'apps', 'api', 'dist', 'index.js')).href;
  const program = `const { startApi } = await import(${JSON.stringify(index)});
    const { close, ...where } = await startApi(${JSON.stringify(config)});
    console.log('ready ' + JSON.stringify(where));
    process.on('SIGTERM', () => void close().then(() => process.exit(0)));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, GRAFT_LOG_LEVEL: 'error' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, log] = ['', ''];
  child.stderr.on('data', (data: Buffer) => (log += data.toString()));
  const where = await new Promise<{ url: string; grpcUrl: string }>((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => {
      out += data.toString();
      const ready = /^ready (.*)\n/m.exec(out)?.[1];
      if (ready) resolve(JSON.parse(ready) as { url: string; grpcUrl: string });
    });
    child.once('exit', (code) => reject(new Error(`the old API ended (${code}): ${out}${log}`)));
  });
  return {
    ...where,
    errors: () => `${out}${log}`.split('\n').filter((line) => /"level":(5|6)0|Error/.test(line)),
    stop: () => ended(child),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const over = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await over;
}
