// Runs npm ci if the installed packages differ from the lockfile.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runShown } from './run.mjs';
import { SetupError } from './step.mjs';

/**
 * First package of the lockfile that is missing or has another version. Null if there is none. npm stores a lockfile of
 * the installed packages in node_modules, without those of other platforms.
 */
export function firstDifference(lock, installed) {
  for (const [path, wanted] of Object.entries(lock.packages)) {
    if (!path.startsWith('node_modules/') || wanted.optional || wanted.devOptional || wanted.peer)
      continue;
    const there = installed.packages?.[path];
    if (!there) return `${path.slice('node_modules/'.length)} is missing`;
    if (there.version !== wanted.version)
      return `${path.slice('node_modules/'.length)} is ${there.version}, expected ${wanted.version}`;
  }
  return null;
}

export function dependenciesStep(root) {
  const difference = () => {
    const hidden = join(root, 'node_modules/.package-lock.json');
    if (!existsSync(hidden)) return 'nothing installed yet';
    const read = (path) => JSON.parse(readFileSync(path, 'utf8'));
    return firstDifference(read(join(root, 'package-lock.json')), read(hidden));
  };
  return {
    upToDate: () => difference() === null,
    async run(say) {
      say(`${difference()}: npm ci (about 520 packages, 0.5 GB; 15 s to a minute)`);
      const code = await runShown('npm', ['ci', '--no-audit', '--no-fund'], { cwd: root });
      if (code !== 0) {
        throw new SetupError(
          `npm ci exited with code ${code} (see above); check that the package registry is reachable (npm config get registry)`,
        );
      }
    },
  };
}
