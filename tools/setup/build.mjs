// The three builds: native kernels, TypeScript, dashboard.
import { chmodSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { runShown } from './run.mjs';
import { hashPaths } from './stamp.mjs';
import { SetupError } from './step.mjs';

const LIBS = ['contracts', 'kernels', 'peft-core'];
const APPS = ['api', 'worker', 'cli'];
const PROGRAMS = { graft: 'apps/cli/dist/main.js', 'graft-worker': 'apps/worker/dist/main.js' };

/** The kernels' own script finds or installs libtorch and the compilers, and says so; it also knows when there is nothing to do. */
export function kernelsStep(root, stamps) {
  const inputs = ['libs/kernels/CMakeLists.txt', 'libs/kernels/native', 'libs/kernels/scripts'];
  return stamped(stamps, 'kernels', {
    hash: () => hashPaths(root, inputs) + (process.env.LIBTORCH ?? ''),
    outputs: [join(root, 'libs/kernels/build/kernels.node')],
    async run() {
      const code = await runShown(
        process.execPath,
        [join(root, 'libs/kernels/scripts/build.mjs')],
        { cwd: root },
      );
      if (code !== 0)
        throw new SetupError(
          'the native kernels were not built; the reason is above. LIBTORCH=/path/to/libtorch names one you have',
        );
    },
  });
}

export function typescriptStep(root, stamps) {
  const inputs = [
    'tsconfig.json',
    'tsconfig.base.json',
    'package-lock.json',
    ...LIBS.map((name) => `libs/${name}/src`),
    ...APPS.map((name) => `apps/${name}/src`),
    'apps/dashboard/src',
  ];
  return stamped(stamps, 'typescript', {
    hash: () => hashPaths(root, inputs),
    outputs: [
      ...LIBS.map((name) => join(root, `libs/${name}/dist/index.js`)),
      ...APPS.map((name) => join(root, `apps/${name}/dist/main.js`)),
      ...Object.keys(PROGRAMS).map((name) => join(root, 'node_modules/.bin', name)),
    ],
    async run() {
      const code = await runShown(
        process.execPath,
        [join(root, 'node_modules/tsc7/bin/tsc'), '-b'],
        { cwd: root },
      );
      if (code !== 0) throw new SetupError('the TypeScript build failed; the errors are above');
      linkPrograms(root);
    },
  });
}

// npm ci links a workspace's programs only where they are built already; `npx graft` must work after the first build
function linkPrograms(root) {
  for (const [name, script] of Object.entries(PROGRAMS)) {
    const link = join(root, 'node_modules/.bin', name);
    chmodSync(join(root, script), 0o755);
    rmSync(link, { force: true });
    symlinkSync(join('../..', script), link);
  }
}

export function dashboardStep(root, stamps) {
  return stamped(stamps, 'dashboard', {
    hash: () => hashPaths(root, ['apps/dashboard', 'libs/contracts/src', 'package-lock.json']),
    outputs: [join(root, 'apps/dashboard/dist/index.html')],
    async run() {
      const vite = join(root, 'node_modules/vite/bin/vite.js');
      const code = await runShown(process.execPath, [vite, 'build', '--logLevel', 'warn'], {
        cwd: join(root, 'apps/dashboard'),
      });
      if (code !== 0) throw new SetupError('the dashboard was not built; the errors are above');
    },
  });
}

function stamped(stamps, name, { hash, outputs, run }) {
  return {
    upToDate: () => stamps.matches(name, hash(), outputs),
    async run(say) {
      const before = hash();
      await run(say);
      stamps.write(name, before);
    },
  };
}
