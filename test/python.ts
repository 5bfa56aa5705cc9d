// Python interpreters with packages from PyPI, in virtual environments that are created once in .cache.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const CACHE = join(import.meta.dirname, '../.cache');

/**
 * Returns the path of an interpreter with these packages, as `pip install` names them. Returns null and prints why
 * if Python or the package registry is not available.
 */
export function pythonWith(name: string, packages: readonly string[]): string | null {
  const folder = join(CACHE, name);
  const python = join(folder, 'bin/python');
  if (existsSync(python)) return python;
  // Created under a temporary name and then renamed, so that an existing folder is complete. The interpreter
  // finds its packages relative to its own path.
  const begun = `${folder}.${process.pid}`;
  mkdirSync(CACHE, { recursive: true });
  try {
    execFileSync('python3', ['-m', 'venv', begun], { stdio: 'pipe' });
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages];
    execFileSync(join(begun, 'bin/python'), pip, { stdio: 'pipe', timeout: 120_000 });
    renameSync(begun, folder);
    return python;
  } catch (error) {
    rmSync(begun, { recursive: true, force: true });
    const [reason] = (error as Error).message.split('\n');
    console.warn(`skipped: cannot install ${packages.join(' ')} for Python: ${reason}`);
    return null;
  }
}
