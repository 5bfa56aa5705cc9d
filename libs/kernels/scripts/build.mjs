#!/usr/bin/env node
// Builds build/kernels.node from native/, and build/build.json, which describes the build. Reuses an addon from the
// user's cache if any checkout has built the same (cache.mjs). A hash of the sources and of libtorch shows in well
// under a second whether there is anything to do.
// Options: --out DIR (default build/), --force (ignores the cache); --emulated cuda|tiles builds another addon from the
// same tree for tests, see emulate().
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { addonFromCache, writableCache } from './cache.mjs';
import { aptInstall, has, run } from './commands.mjs';
import { compile, nodeHeaders } from './compile.mjs';
import { cudaRuntime, ensureLibtorch, hasCuda, identityOf, wantsCuda } from './libtorch.mjs';
import { ensureNvcc, nvccFlags } from './nvcc.mjs';

const PROJECT = fileURLToPath(new URL('..', import.meta.url));
const ROOT = resolve(PROJECT, '../..');

/** Builds the addon if it is not up to date. @returns {Promise<object>} the contents of build.json */
export async function build({ out = join(PROJECT, 'build'), force = false, log = () => {} } = {}) {
  const stamp = readStamp(join(out, 'build.json'));
  const sources = hashSources(['CMakeLists.txt', 'native', 'scripts']);
  if (!force && stamp && stamp.sources === sources && stillThere(stamp, out)) {
    log(`up to date (libtorch ${stamp.libtorch}, ${stamp.source})`);
    return stamp;
  }
  const plan = await prepare(log);
  const { libtorch, cuda, key } = plan;
  linkLibtorch(out, libtorch.lib);
  await buildTarget('kernels', plan, { out, force, log, takes: 'about 50 s on two cores' });
  const info = {
    libtorch: libtorch.version,
    source: libtorch.source,
    lib: libtorch.lib,
    LIBTORCH: process.env.LIBTORCH ?? null,
    compiler: plan.compiler.split('\n')[0],
    cuda: hasCuda(libtorch),
    nvcc: cuda.nvcc ?? null,
    wantsCuda: wantsCuda(),
    sources,
    key,
  };
  writeFileSync(join(out, 'build.json'), `${JSON.stringify(info, null, 2)}\n`);
  return info;
}

/** Emulators for this processor, with their compile time next to the kernels. */
const EMULATED = {
  cuda: 'about 10 s',
  tiles: 'about 25 s, and the kernels where those came from the cache',
};

/**
 * Builds an addon that emulates missing instructions on this processor, if it is not up to date: the CUDA
 * implementations of the operators (native/cuda/emulated), or all of ours with AMX tiles (native/ops/emulated).
 * @returns {Promise<string>} its path
 */
export async function emulate(what, { out = join(PROJECT, 'build'), log = () => {} } = {}) {
  if (!Object.hasOwn(EMULATED, what))
    throw new Error(`--emulated takes ${Object.keys(EMULATED).join(' or ')}, got "${what}"`);
  const { key } = await build({ out, log });
  const target = `${what}_emulated`;
  const [addon, stamp] = [join(out, `${target}.node`), join(out, `${target}.json`)];
  if (readStamp(stamp)?.key === key && existsSync(addon)) return addon;
  await buildTarget(target, await prepare(log), { out, log, takes: EMULATED[what] });
  writeFileSync(stamp, `${JSON.stringify({ key })}\n`);
  return addon;
}

/** Collects everything that the compiled addon depends on. `key` is equal in checkouts with equal sources and tools. */
async function prepare(log) {
  const libtorch = await ensureLibtorch({ log });
  ensureCompilers(log);
  const cuda = cudaOptions(libtorch, log);
  const compiler = run(process.env.CXX || 'g++', ['--version']).out;
  const parts = {
    platform: `${process.platform} ${process.arch}`,
    sources: hashSources(['CMakeLists.txt', 'native']),
    compiler,
    environment: ['CXX', 'CXXFLAGS', 'CPPFLAGS', 'LDFLAGS'].map((name) => process.env[name] ?? ''),
    headers: nodeHeaders().map(({ name, version }) => `${name} ${version}`),
    libtorch: identityOf(libtorch),
    cuda: cuda.options && [
      cuda.nvcc,
      cuda.options.NVCC_FLAGS,
      relative(libtorch.lib, cuda.options.CUDART),
    ],
  };
  const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
  return { libtorch, cuda, compiler, key };
}

async function buildTarget(target, { libtorch, cuda, key }, { out, force, log, takes }) {
  const what = target === 'kernels' ? 'the kernels' : target;
  const cache = writableCache(log);
  const folder = cache && join(cache, 'kernels');
  let started = Date.now();
  const seconds = () => `${((Date.now() - started) / 1000).toFixed(1)} s`;
  const make = async () => {
    started = Date.now();
    const { version, source, lib } = libtorch;
    log(`compiling ${what} against libtorch ${version} (${source}, ${lib}): ${takes}`);
    const made = await compile(target, { libtorch, cuda, out, log });
    log(`compiled in ${seconds()}`);
    return made;
  };
  if (force && folder) rmSync(join(folder, `${target}-${key}`), { recursive: true, force: true });
  const to = join(out, `${target}.node`);
  const isCached = await addonFromCache({ folder, key: `${target}-${key}`, to, make, log });
  if (isCached) log(`loaded ${what} from the cache (${folder}) in ${seconds()}`);
}

/** Links `libtorch` next to the addon. The addon's RPATH is relative to it, so the same file works in every checkout. */
function linkLibtorch(out, lib) {
  mkdirSync(out, { recursive: true });
  // relative, because a checkout may be moved
  const target =
    lib.startsWith(`${ROOT}/`) && out.startsWith(`${ROOT}/`) ? relative(out, lib) : lib;
  const link = join(out, 'libtorch');
  try {
    if (readlinkSync(link) === target) return;
  } catch {
    // does not exist yet
  }
  const fresh = `${link}.${process.pid}`;
  symlinkSync(target, fresh);
  renameSync(fresh, link);
}

function readStamp(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null; // missing or incomplete: build
  }
}

function stillThere(stamp, out) {
  return (
    stamp.LIBTORCH === (process.env.LIBTORCH ?? null) &&
    stamp.wantsCuda === wantsCuda() &&
    existsSync(join(out, 'kernels.node')) &&
    existsSync(join(out, 'libtorch/libtorch_cpu.so'))
  );
}

function hashSources(places) {
  const files = places.flatMap((place) =>
    place.includes('.')
      ? [place]
      : readdirSync(join(PROJECT, place), { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => relative(PROJECT, join(entry.parentPath ?? entry.path, entry.name))),
  );
  const hash = createHash('sha256');
  for (const file of files.sort()) {
    const bytes = readFileSync(join(PROJECT, file));
    hash.update(`${file} ${bytes.length}\n`).update(bytes);
  }
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

/** Build options of the kernels in native/cuda for a CUDA libtorch; empty if they cannot be built. */
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
