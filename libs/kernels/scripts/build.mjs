#!/usr/bin/env node
// Builds build/kernels.node from native/, and build/build.json saying what it was built against.
// Nothing to do is found out in well under a second, by a hash over the sources and the libtorch.
// Options: --out DIR (default build/), --force; --emulated cuda|tiles: for tests, another addon from the same tree, see
// emulate().
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { aptInstall, has, run } from './commands.mjs';
import { cudaRuntime, ensureLibtorch, hasCuda, wantsCuda } from './libtorch.mjs';
import { ensureNvcc, nvccFlags } from './nvcc.mjs';

const ROOM = fileURLToPath(new URL('..', import.meta.url));

/** Builds the addon where it is not up to date. @returns {Promise<object>} what build.json holds */
export async function build({ out = join(ROOM, 'build'), force = false, log = () => {} } = {}) {
  const stamp = readStamp(join(out, 'build.json'));
  const sources = hashSources();
  if (!force && stamp && stamp.sources === sources && stillThere(stamp, out)) {
    log(`up to date (libtorch ${stamp.libtorch}, ${stamp.source})`);
    return stamp;
  }
  const libtorch = await ensureLibtorch({ log });
  ensureCompilers(log);
  const cuda = cudaOptions(libtorch, log);
  log(
    `compiling against libtorch ${libtorch.version} (${libtorch.source}, ${libtorch.lib}): about a minute on two cores`,
  );
  const started = Date.now();
  compile(libtorch, cuda, out);
  const info = {
    libtorch: libtorch.version,
    source: libtorch.source,
    lib: libtorch.lib,
    LIBTORCH: process.env.LIBTORCH ?? null,
    compiler: run('g++', ['--version']).out.split('\n')[0],
    cuda: hasCuda(libtorch),
    nvcc: cuda.nvcc ?? null,
    wantsCuda: wantsCuda(),
    sources,
  };
  writeFileSync(join(out, 'build.json'), `${JSON.stringify(info, null, 2)}\n`);
  log(`built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  return info;
}

/** What is emulated on this processor, and what the errors call it. */
const EMULATED = { cuda: 'CUDA bodies', tiles: 'tiles of AMX' };

/**
 * Builds an addon that does on this processor what it has no instructions for, where that is not up to date: CUDA's
 * bodies of the operators (native/cuda/emulated), or all of ours with tiles of AMX (native/ops/emulated). One process at
 * a time does. @returns {Promise<string>} its path
 */
export async function emulate(what, { out = join(ROOM, 'build'), log = () => {} } = {}) {
  if (!Object.hasOwn(EMULATED, what))
    throw new Error(`--emulated takes ${Object.keys(EMULATED).join(' or ')}, got "${what}"`);
  await build({ out, log });
  const tree = join(out, 'cmake');
  const command = ['cmake', '--build', tree, '--parallel', '2', '--target', `${what}_emulated`];
  const made = run('flock', [join(out, 'emulated.lock'), ...command], { timeout: 1_800_000 });
  if (!made.ok)
    throw new Error(`the emulated ${EMULATED[what]} did not compile:\n${made.out}${made.err}`);
  return join(tree, `${what}_emulated.node`);
}

function readStamp(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null; // never built, or half-written: build
  }
}

function stillThere(stamp, out) {
  return (
    stamp.LIBTORCH === (process.env.LIBTORCH ?? null) &&
    stamp.wantsCuda === wantsCuda() &&
    existsSync(join(out, 'kernels.node')) &&
    existsSync(join(stamp.lib, 'libtorch_cpu.so'))
  );
}

function hashSources() {
  const files = [join(ROOM, 'CMakeLists.txt')];
  for (const folder of ['native', 'scripts'])
    for (const entry of readdirSync(join(ROOM, folder), { recursive: true, withFileTypes: true }))
      if (entry.isFile()) files.push(join(entry.parentPath ?? entry.path, entry.name));
  const hash = createHash('sha256').update(`${process.arch} ${process.platform}`);
  for (const file of files.sort()) hash.update(file).update(readFileSync(file));
  return hash.digest('hex');
}

function ensureCompilers(log) {
  const missing = [
    ['g++', 'g++'],
    ['cmake', 'cmake'],
  ].filter(([program]) => !has(program));
  if (!has('ninja') && !has('make')) missing.push(['make', 'make']);
  if (missing.length > 0) {
    const names = missing.map(([program]) => program).join(' and ');
    aptInstall(
      missing.map(([, pack]) => pack),
      `compiling the kernels needs ${names}`,
      log,
    );
  }
}

/** Of a CUDA libtorch: what the kernels in native/cuda are built with. Nothing where that cannot be. */
function cudaOptions(libtorch, log) {
  const runtime = hasCuda(libtorch) ? cudaRuntime(libtorch) : null;
  const nvcc = runtime && ensureNvcc({ major: runtime.major, log });
  if (!nvcc) {
    if (hasCuda(libtorch))
      log("on a GPU Graft's own operators will be composed of libtorch's: there is no nvcc for it");
    return {};
  }
  log(`with nvcc ${nvcc.version} (${nvcc.home}) for sm_${nvcc.architectures.join(', sm_')}`);
  return {
    nvcc: nvcc.version,
    options: {
      NVCC: nvcc.path,
      NVCC_FLAGS: nvccFlags(nvcc).join(';'),
      CUDA_INCLUDE: join(nvcc.home, 'include'),
      CUDART: runtime.path,
    },
  };
}

function nodeHeaders() {
  const require = createRequire(import.meta.url);
  const folder = (name) => dirname(require.resolve(`${name}/package.json`));
  return [folder('node-addon-api'), join(folder('node-api-headers'), 'include')];
}

function compile(libtorch, cuda, out) {
  mkdirSync(out, { recursive: true });
  const tree = join(out, 'cmake');
  const ninja = has('ninja');
  const options = {
    LIBTORCH_INCLUDE: libtorch.include.join(';'),
    LIBTORCH_LIB: libtorch.lib,
    NODE_INCLUDE: nodeHeaders().join(';'),
    CMAKE_BUILD_TYPE: 'Release',
    ...(cuda.options ?? { NVCC: '' }),
  };
  if (has('ccache')) options.CMAKE_CXX_COMPILER_LAUNCHER = 'ccache';
  const flags = Object.entries(options).map(([key, value]) => `-D${key}=${value}`);
  const configure = () =>
    run('cmake', ['-S', ROOM, '-B', tree, '-G', ninja ? 'Ninja' : 'Unix Makefiles', ...flags], {
      timeout: 600_000,
    });
  let configured = configure();
  if (!configured.ok) {
    rmSync(tree, { recursive: true, force: true }); // a tree of another generator or place
    configured = configure();
  }
  if (!configured.ok)
    throw new Error(`cmake could not configure the kernels:\n${configured.out}${configured.err}`);
  // a file takes about 0.8 GB to compile
  const jobs = Math.max(1, Math.min(availableParallelism(), 8));
  const made = run('cmake', ['--build', tree, '--parallel', String(jobs)], { timeout: 1_800_000 });
  if (!made.ok) throw new Error(`the kernels did not compile:\n${made.out}${made.err}`);
  // renamed into place, so that a process that has the old one loaded keeps it
  const fresh = join(out, `kernels.node.${process.pid}`);
  writeFileSync(fresh, readFileSync(join(tree, 'kernels.node')), { mode: 0o755 });
  renameSync(fresh, join(out, 'kernels.node'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      out: { type: 'string' },
      force: { type: 'boolean' },
      emulated: { type: 'string' },
    },
  });
  const log = (line) => process.stderr.write(`kernels: ${line}\n`);
  try {
    const { emulated, ...options } = values;
    if (emulated !== undefined)
      process.stdout.write(`${await emulate(emulated, { ...options, log })}\n`);
    else await build({ ...options, log });
  } catch (error) {
    process.stderr.write(`kernels: ${error.message}\n`);
    process.exitCode = 1;
  }
}
