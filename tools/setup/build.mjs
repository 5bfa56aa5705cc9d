// Builds the native kernels, then TypeScript and the dashboard. Nx builds the projects in dependency order and restores
// unchanged ones from its cache (docs/adr/0013).
import { chmodSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { runCaptured, runShown } from './run.mjs';
import { SetupError } from './step.mjs';

const PROGRAMS = { graft: 'apps/cli/bundle/main.js', 'graft-worker': 'apps/worker/bundle/main.js' };

/** Step that runs the build script of the kernels, which installs libtorch and compilers if needed and skips a finished build. */
export function kernelsStep(root) {
  return {
    async run() {
      const script = join(root, 'libs/kernels/scripts/build.mjs');
      const code = await runShown(process.execPath, [script], { cwd: root });
      if (code !== 0)
        throw new SetupError(
          'the native kernels were not built (see above); to use an existing libtorch, set LIBTORCH=/path/to/libtorch',
        );
    },
  };
}

export function buildStep(root) {
  return {
    async run(say) {
      const nx = join(root, 'node_modules/nx/dist/bin/nx.js');
      const { code, output } = await runCaptured(
        process.execPath,
        [nx, 'run-many', '-t', 'build', '--output-style=static'],
        // Disable the daemon, which would keep running, and the full-screen view.
        { cwd: root, env: { ...process.env, NX_DAEMON: 'false', NX_TUI: 'false' } },
      );
      if (code !== 0) {
        process.stdout.write(output);
        throw new SetupError('the build failed (see above)');
      }
      linkPrograms(root);
      const hits = /Cache:\s+(\d+)\/(\d+) hit/.exec(output);
      if (hits) say(`${hits[1]} of ${hits[2]} projects were up to date`);
    },
  };
}

// Links the programs, because npm ci links only those that exist, and `npx graft` must work after the first build.
function linkPrograms(root) {
  for (const [name, script] of Object.entries(PROGRAMS)) {
    const link = join(root, 'node_modules/.bin', name);
    chmodSync(join(root, script), 0o755);
    rmSync(link, { force: true });
    symlinkSync(join('../..', script), link);
  }
}
