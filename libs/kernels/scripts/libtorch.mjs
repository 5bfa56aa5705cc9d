#!/usr/bin/env node
// Finds or fetches libtorch. As a script, it prints {include, lib, version, source} as JSON; --find does not fetch.
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linkTree, withLock, writableCache } from './cache.mjs';
import { aptInstall, has, run } from './commands.mjs';
import {
  VERSION,
  cudaThroughPip,
  onPytorchIndex,
  throughPip,
  unpackCudaWheels,
  unpackWheel,
} from './wheel.mjs';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** This checkout's copy of a fetched libtorch. The shared cache only saves the download. */
const OWN = join(ROOT, '.cache/libtorch');
const OWN_CUDA = join(ROOT, '.cache/libtorch-cuda');
const OLDEST = '2.6';

/** Whether libtorch must be a CUDA build: as GRAFT_CUDA (1 or 0) states, otherwise if the NVIDIA driver finds a GPU. */
export function wantsCuda() {
  const requested = process.env.GRAFT_CUDA;
  if (requested === '0' || requested === '1') return requested === '1';
  if (requested) throw new Error(`GRAFT_CUDA must be 0 or 1, got ${JSON.stringify(requested)}`);
  const gpus = has('nvidia-smi') ? run('nvidia-smi', ['-L'], { timeout: 20_000 }) : { ok: false };
  return gpus.ok && /^GPU \d+:/m.test(gpus.out);
}

/**
 * Returns the libtorch to build against, in this order: LIBTORCH, an installed Python torch, a fetched copy, the system
 * package; null if there is none. If CUDA is required, only a CUDA build counts (LIBTORCH is not checked).
 * @returns {{include: string[], lib: string, version: string, source: string} | null}
 * @throws Error if LIBTORCH is set but not usable
 */
export function findLibtorch({ log = () => {} } = {}) {
  if (process.env.LIBTORCH) {
    const given = inFolder(process.env.LIBTORCH, 'LIBTORCH');
    if (given) return given;
    throw new Error(
      `LIBTORCH=${process.env.LIBTORCH} has no include/ and lib/libtorch_cpu.so of libtorch >= ${OLDEST}`,
    );
  }
  if (!wantsCuda()) return inPython(log) ?? inFolder(OWN, 'fetched') ?? inSystem();
  const all = [inPython(log), inFolder(join(OWN_CUDA, 'torch'), 'fetched, CUDA'), inSystem()];
  return all.find((found) => found && hasCuda(found)) ?? null;
}

/**
 * Returns findLibtorch()'s result, fetching libtorch if there is none: PyTorch's CPU wheel, the CPU wheel that pip
 * finds, or the distribution's libtorch-dev. Logs each step before it starts, and never prompts.
 */
export async function ensureLibtorch({ log = () => {} } = {}) {
  const found = findLibtorch({ log });
  if (found) return found;
  if (wantsCuda()) return ensureCuda(log);
  log('libtorch (the tensor library) is not installed: looking for a CPU build');
  const fetched = await own(OWN, 'libtorch', log, fetchCpu);
  if (fetched) return inFolder(OWN, 'fetched');
  // libtorch-dev alone may install the reference BLAS, which is 10 times slower. Of the OpenBLAS builds, the OpenMP one
  // shares libtorch's threads; with the pthread one, a step took 7 times the CPU time.
  const packages = ['libtorch-dev', 'libopenblas0-openmp'];
  aptInstall(packages, 'no wheel available; using the libtorch of the distribution', log);
  const system = inSystem();
  if (system) return system;
  throw new Error(
    `no libtorch >= ${OLDEST} could be found or fetched; unpack one and set LIBTORCH to its directory`,
  );
}

/** Fetches a CPU build into `folder`. Returns whether `folder` has one now. */
async function fetchCpu(folder, log) {
  for (const look of [onPytorchIndex, throughPip]) {
    const wheel = await look(log);
    if (!wheel) continue;
    log(`fetching libraries and headers from ${wheel.from} into ${folder}`);
    try {
      await unpackWheel(wheel, folder, log);
      if (inFolder(folder, 'fetched')) return true;
      log('it does not contain a usable libtorch');
    } catch (error) {
      log(`failed: ${error.message}`);
    }
  }
  return false;
}

async function ensureCuda(log) {
  log('a CUDA build of libtorch is needed but not installed (set GRAFT_CUDA=0 to use a CPU build)');
  const fetch = async (folder) => {
    const found = await cudaThroughPip(log);
    if (!found) return false;
    log(`fetching libraries and headers from ${found.from} into ${folder}`);
    await unpackCudaWheels(found.wheels, folder, log);
    return inFolder(join(folder, 'torch'), 'fetched, CUDA') !== null;
  };
  await own(OWN_CUDA, 'libtorch-cuda', log, fetch);
  const fetched = inFolder(join(OWN_CUDA, 'torch'), 'fetched, CUDA');
  if (fetched && hasCuda(fetched)) return fetched;
  throw new Error(
    'no CUDA build of libtorch could be fetched; unpack one and set LIBTORCH to its directory, or set GRAFT_CUDA=0',
  );
}

/**
 * Gives this checkout its own copy of a libtorch: hard links to the shared cache, which fetches it first if needed.
 * Without a cache, it is fetched into the checkout.
 */
async function own(folder, name, log, fetch) {
  const cache = writableCache(log);
  if (cache === null) return fetch(folder, log);
  const shared = join(cache, `${name}-${VERSION}-${process.arch}`);
  return withLock(
    `${shared}.lock`,
    async () => {
      // a complete download is renamed into place
      if (existsSync(shared)) log(`using the libtorch ${VERSION} in ${shared}`);
      else if (!(await fetch(shared, log))) return false;
      linkTree(shared, folder);
      return true;
    },
    { onWait: () => log('another process fetches libtorch: waiting for it') },
  );
}

/** Whether a libtorch is a CUDA build. */
export const hasCuda = ({ lib }) => existsSync(join(lib, 'libtorch_cuda.so'));

/**
 * Finds the CUDA runtime of a CUDA libtorch: next to it, or in NVIDIA's wheels; null if there is none.
 * @returns {{path: string, major: number} | null}
 */
export function cudaRuntime({ lib }) {
  const nvidia = join(lib, '../../nvidia');
  const wheels = existsSync(nvidia) ? readdirSync(nvidia) : [];
  for (const folder of [lib, ...wheels.map((name) => join(nvidia, name, 'lib'))]) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)) {
      const major = /^libcudart[^/]*\.so\.(\d+)/.exec(name)?.[1];
      if (major) return { path: join(folder, name), major: Number(major) };
    }
  }
  return null;
}

/**
 * Identifies a libtorch build independent of its location, by its version and the names and sizes of the linked files.
 */
export function identityOf({ lib, version }) {
  const parts = [version];
  for (const folder of [lib, join(lib, '../../torch.libs')]) {
    if (!existsSync(folder)) continue;
    const names = readdirSync(folder).filter((name) => /^lib(torch|c10|gomp)/.test(name));
    for (const name of names.sort()) parts.push(`${name} ${statSync(join(folder, name)).size}`);
  }
  const about = join(lib, '../version.py');
  if (existsSync(about)) parts.push(readFileSync(about, 'utf8'));
  return parts.join('\n');
}

function inFolder(folder, source) {
  const include = [join(folder, 'include'), join(folder, 'include/torch/csrc/api/include')];
  return usable(include, join(folder, 'lib'), source);
}

function inSystem() {
  const libs = ['/usr/lib', '/usr/local/lib', '/usr/lib64'];
  for (const base of libs.filter((path) => existsSync(path))) {
    const nested = readdirSync(base).filter((name) => name.endsWith('-linux-gnu'));
    for (const lib of [base, ...nested.map((name) => join(base, name))]) {
      const found = usable(
        ['/usr/include', '/usr/include/torch/csrc/api/include'],
        lib,
        'system package',
      );
      if (found) return found;
    }
  }
  return null;
}

// The user's `python3` first, then the newest version.
function inPython(log) {
  const program =
    "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')";
  for (const python of ['python3', 'python'].filter(has)) {
    const folder = run(python, ['-c', program], { timeout: 20_000 }).out.trim();
    if (!folder) continue;
    const found = inFolder(folder, `${python}'s torch`);
    if (found) return found;
    log(
      `the torch in ${folder} is not a usable libtorch >= ${OLDEST} (headers and libraries are required); skipped`,
    );
  }
  return null;
}

function usable(include, lib, source) {
  if (
    !existsSync(join(lib, 'libtorch_cpu.so')) ||
    !existsSync(join(include[0], 'ATen/core/dispatch/Dispatcher.h'))
  ) {
    return null;
  }
  const version = versionOf(include);
  if (!version || compare(version, OLDEST) < 0) return null;
  return { include, lib, version, source };
}

function versionOf(include) {
  const headers = [
    join(include[0], 'torch/headeronly/version.h'),
    join(include[1], 'torch/version.h'),
  ];
  for (const header of headers.filter((path) => existsSync(path))) {
    const text = readFileSync(header, 'utf8');
    const part = (name) => new RegExp(`#define TORCH_VERSION_${name} (\\d+)`).exec(text)?.[1];
    if (part('MAJOR')) return `${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}`;
  }
  return null;
}

function compare(a, b) {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number));
  return x[0] - y[0] || x[1] - y[1];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const log = (line) => process.stderr.write(`libtorch: ${line}\n`);
  try {
    const found = process.argv.includes('--find')
      ? findLibtorch({ log })
      : await ensureLibtorch({ log });
    process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  } catch (error) {
    log(error.message);
    process.exitCode = 1;
  }
}
