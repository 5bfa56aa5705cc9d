#!/usr/bin/env node
// Finds NVIDIA's compiler, or fetches it from PyPI, for the kernels in native/cuda. No GPU is needed.
// As a script, it compiles all kernels into the given folder and prints JSON: ptxas' report for each kernel and
// architecture, and the nvcc used. It prints null if there is no nvcc, or if GRAFT_FETCH_NVCC=1 could not fetch one.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from './cache.mjs';
import { has, run } from './commands.mjs';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SOURCES = fileURLToPath(new URL('../native/cuda/', import.meta.url));
const CACHE = join(cacheFolder() ?? join(ROOT, '.cache'), 'nvcc');
/** CUDA version of the libtorch that we fetch. */
const MAJOR = 13;
// the compiler's wheel depends on its parts without a version, but needs its own
const PARTS = ['cuda-nvcc', 'nvvm', 'cuda-crt', 'cuda-runtime'];
const VERSION = '13.0.88';
/** Compute capability 8.0 (also runs on 8.6 and 8.9), 9.0 and 12.0. Other GPUs compile the first one's PTX at start. */
const ARCHITECTURES = [80, 90, 120];

/**
 * Finds an nvcc of this major version: in CUDA_HOME, on PATH, or a fetched one.
 * @returns {{path: string, home: string, version: string, architectures: number[]} | null}
 */
export function findNvcc({ major = MAJOR, log = () => {} } = {}) {
  const home = process.env.CUDA_HOME;
  const places = [home && join(home, 'bin/nvcc'), has('nvcc') && 'nvcc', fetchedPath(CACHE)];
  for (const path of places.filter(Boolean)) {
    const found = inspect(path);
    if (found && Number.parseInt(found.version, 10) === major) return found;
    if (found) log(`${path} is of CUDA ${found.version}, ${major} is needed; skipped`);
  }
  return null;
}

/** Returns findNvcc()'s result, fetching it with pip if there is none; null if that fails. */
export function ensureNvcc({ major = MAJOR, log = () => {} } = {}) {
  const found = findNvcc({ major, log });
  if (found || major !== MAJOR) return found;
  log(`nvcc is not installed: fetching ${VERSION} from PyPI into ${CACHE}, 250 MB unpacked`);
  const partial = `${CACHE}.partial-${process.pid}`;
  const wheels = PARTS.map((part) => `nvidia-${part}==${VERSION}`);
  const args = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', partial, ...wheels];
  const done = run('python3', args, { timeout: 600_000 });
  if (done.ok && existsSync(fetchedPath(partial))) keepFetched(partial, CACHE);
  else log(`pip cannot bring it: ${done.err.trim().split('\n').pop()}`);
  rmSync(partial, { recursive: true, force: true });
  return findNvcc({ major, log });
}

/** Moves a fetched nvcc into place, unless another process was faster and may already be using its own. */
export function keepFetched(partial, folder) {
  for (const isLast of [false, true]) {
    if (existsSync(fetchedPath(folder))) return;
    try {
      return renameSync(partial, folder);
    } catch (error) {
      // the folder is another process's complete copy, or a leftover of an older build
      if (isLast || !['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(error.code)) throw error;
      if (!existsSync(fetchedPath(folder))) rmSync(folder, { recursive: true, force: true });
    }
  }
}

const fetchedPath = (folder) => join(folder, `nvidia/cu${MAJOR}/bin/nvcc`);

function inspect(path) {
  const said = run(path, ['--version']);
  const version = /release (\d+\.\d+)/.exec(said.out)?.[1];
  if (!said.ok || !version) return null;
  // nvcc may be a script that calls another one
  const top = /^#\$ TOP=(.+)$/m.exec(run(path, ['--dryrun', '-x', 'cu', '/dev/null']).err)?.[1];
  if (!top) return null;
  const known = run(path, ['--list-gpu-arch']).out;
  const architectures = ARCHITECTURES.filter((each) =>
    new RegExp(`compute_${each}\\b`).test(known),
  );
  return { path, home: resolve(top), version, architectures };
}

/** Compiler flags of our kernels. */
export const nvccFlags = ({ architectures }) => [
  ...['-std=c++20', '-O3', '-Xcompiler=-fPIC,-fvisibility=hidden'],
  ...architectures.map((each) => `-gencode=arch=compute_${each},code=sm_${each}`),
  `-gencode=arch=compute_${architectures[0]},code=compute_${architectures[0]}`,
];

/** Compiles all kernels. @returns what ptxas reported: kernel, file, architecture, registers, bytes spilled */
export function compileKernels(nvcc, folder) {
  mkdirSync(folder, { recursive: true });
  const files = readdirSync(SOURCES).filter((name) => name.endsWith('.cu'));
  const launcher = has('ccache') ? ['ccache', nvcc.path] : [nvcc.path];
  return files.flatMap((file) => {
    const to = join(folder, file.replace(/\.cu$/, '.o'));
    const args = [...nvccFlags(nvcc), '-Xptxas=-v', '-c', join(SOURCES, file), '-o', to];
    const made = run(launcher[0], [...launcher.slice(1), ...args], { timeout: 1_200_000 });
    if (!made.ok) throw new Error(`${file} did not compile:\n${made.out}${made.err}`);
    const each =
      /Compiling entry function '(\w+)' for 'sm_(\d+)'[^]*?(\d+) bytes spill stores[^]*?Used (\d+) registers/g;
    return [...made.err.matchAll(each)].map(([, kernel, architecture, spilled, registers]) => ({
      file,
      kernel,
      architecture: Number(architecture),
      spilled: Number(spilled),
      registers: Number(registers),
    }));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const log = (line) => process.stderr.write(`nvcc: ${line}\n`);
    const nvcc = (process.env.GRAFT_FETCH_NVCC === '1' ? ensureNvcc : findNvcc)({ log });
    const result = nvcc && { ...nvcc, kernels: compileKernels(nvcc, process.argv[2]) };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } catch (error) {
    process.stderr.write(`nvcc: ${error.message}\n`);
    process.exitCode = 1;
  }
}
