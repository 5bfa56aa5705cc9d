// Compiles one target of CMakeLists.txt with cmake and reports progress.
import { mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withLock } from './cache.mjs';
import { follow, has, run } from './commands.mjs';

const PROJECT = fileURLToPath(new URL('..', import.meta.url));
const PROGRESS_EVERY_MS = 10_000;

const require = createRequire(import.meta.url);

/** Versions and include folders of the packages with Node-API's headers. */
export function nodeHeaders() {
  return [
    ['node-addon-api', '.'],
    ['node-api-headers', 'include'],
  ].map(([name, inside]) => {
    const manifest = require.resolve(`${name}/package.json`);
    return { name, version: require(manifest).version, include: join(dirname(manifest), inside) };
  });
}

/** @returns {Promise<string>} the path of the addon; only one process at a time uses the tree */
export async function compile(target, { libtorch, cuda, out, log }) {
  mkdirSync(out, { recursive: true });
  const tree = join(out, 'cmake');
  const onWait = () => log('another process compiles in this checkout: waiting for it');
  await withLock(
    join(out, 'cmake.lock'),
    async () => {
      configure(tree, { libtorch, cuda });
      await make(tree, target, log);
    },
    { onWait },
  );
  return join(tree, `${target}.node`);
}

function configure(tree, { libtorch, cuda }) {
  const options = {
    LIBTORCH_INCLUDE: libtorch.include.join(';'),
    LIBTORCH_LIB: libtorch.lib,
    NODE_INCLUDE: nodeHeaders()
      .map(({ include }) => include)
      .join(';'),
    CMAKE_BUILD_TYPE: 'Release',
    ...(cuda.options ?? { NVCC: '' }),
  };
  if (has('ccache')) options.CMAKE_CXX_COMPILER_LAUNCHER = 'ccache';
  const flags = Object.entries(options).map(([key, value]) => `-D${key}=${value}`);
  const generator = has('ninja') ? 'Ninja' : 'Unix Makefiles';
  const args = ['-S', PROJECT, '-B', tree, '-G', generator, ...flags];
  let configured = run('cmake', args, { timeout: 600_000 });
  if (!configured.ok) {
    rmSync(tree, { recursive: true, force: true }); // a tree with another generator or location
    configured = run('cmake', args, { timeout: 600_000 });
  }
  if (!configured.ok)
    throw new Error(`cmake could not configure the kernels:\n${configured.out}${configured.err}`);
}

async function make(tree, target, log) {
  // a file takes about 1 GB to compile
  const jobs = Math.max(1, Math.min(availableParallelism(), 8));
  const args = ['--build', tree, '--parallel', String(jobs), '--target', target];
  let shown = Date.now();
  const made = await follow('cmake', args, (line) => {
    const done = progressOf(line);
    if (done === null || Date.now() - shown < PROGRESS_EVERY_MS) return;
    shown = Date.now();
    log(done);
  });
  if (!made.ok) throw new Error(`the kernels did not compile:\n${made.out}`);
}

/** Progress from a line of ninja (`[3/28] …`) or make (`[ 12%] …`); null for other lines. */
export function progressOf(line) {
  const [, done, total, percent] = /^\[\s*(?:(\d+)\/(\d+)|(\d+)%)\]/.exec(line) ?? [];
  if (percent !== undefined) return `${percent} % compiled`;
  return done === undefined ? null : `${done} of ${total} steps done`;
}
