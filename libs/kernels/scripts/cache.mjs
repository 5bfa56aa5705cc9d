// The cache that all checkouts of a user share: libtorch, nvcc and compiled addons. Each checkout has its own links or
// copies, so the cache can be deleted at any time.
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';

/** Compiled addons take 4 to 20 MB each. */
const LARGEST_BYTES = 256e6;

/** Returns GRAFT_CACHE, or `graft` in the user's cache directory; null if GRAFT_CACHE=0. */
export function cacheFolder(env = process.env) {
  if (env.GRAFT_CACHE === '0') return null;
  if (env.GRAFT_CACHE) return resolve(env.GRAFT_CACHE);
  const xdg = env.XDG_CACHE_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'graft');
}

/** Returns the cache folder, creating it if needed; null if it is disabled or not writable. */
export function writableCache(log) {
  const folder = cacheFolder();
  if (folder === null) return null;
  try {
    mkdirSync(folder, { recursive: true });
    const probe = join(folder, `.probe-${process.pid}`);
    writeFileSync(probe, '');
    rmSync(probe);
    return folder;
  } catch (error) {
    log(`no cache: ${error.message}`);
    return null;
  }
}

/**
 * Writes an addon to `to`: from `folder` if it has a complete one under `key`, otherwise compiled by `make`, which
 * returns the path of its result. Processes with the same key wait for the first one. Without a folder it compiles.
 * @returns {Promise<boolean>} whether it came from the cache
 */
export async function addonFromCache({ folder, key, to, make, log, largest = LARGEST_BYTES }) {
  if (folder === null) {
    install(await make(), to);
    return false;
  }
  if (load(folder, key, to, log)) return true;
  mkdirSync(folder, { recursive: true });
  const work = async () => {
    if (load(folder, key, to, log)) return true;
    const made = await make();
    install(made, to);
    try {
      store(folder, key, made);
      prune(folder, largest, key);
    } catch (error) {
      log(`not kept in the cache: ${error.message}`);
    }
    return false;
  };
  const onWait = () => log('another process compiles the same kernels: waiting for it');
  return withLock(join(folder, `${key}.lock`), work, { onWait });
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

function load(folder, key, to, log) {
  const entry = join(folder, key);
  if (!existsSync(entry)) return false;
  let bytes;
  try {
    bytes = readFileSync(join(entry, 'addon.node'));
    if (sha256(bytes) !== readFileSync(join(entry, 'sha256'), 'utf8'))
      throw new Error('its checksum is another');
  } catch (error) {
    log(`the cached copy in ${entry} is damaged (${error.message}): compiling again`);
    return false;
  }
  replaceFile(to, (path) => writeFileSync(path, bytes, { mode: 0o755 }));
  try {
    utimesSync(entry, new Date(), new Date()); // marks it as used, so that it is evicted last
  } catch {
    // another user owns the cache
  }
  return true;
}

function store(folder, key, made) {
  const partial = join(folder, `${key}.partial-${process.pid}`);
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial);
  const bytes = readFileSync(made);
  writeFileSync(join(partial, 'addon.node'), bytes);
  writeFileSync(join(partial, 'sha256'), sha256(bytes));
  rmSync(join(folder, key), { recursive: true, force: true });
  renameSync(partial, join(folder, key));
}

/** Removes the least recently used addons beyond the size limit, and partial files of killed processes. */
function prune(folder, largest, kept) {
  const entries = readdirSync(folder)
    .filter((name) => !name.endsWith('.lock'))
    .map((name) => ({ name, used: statSync(join(folder, name)).mtimeMs }))
    .sort((a, b) => b.used - a.used);
  let bytes = 0;
  for (const { name, used } of entries) {
    const path = join(folder, name);
    const addon = join(path, 'addon.node');
    if (name.includes('.partial-')) {
      if (Date.now() - used > 86_400_000) rmSync(path, { recursive: true, force: true });
      continue;
    }
    bytes += existsSync(addon) ? statSync(addon).size : 0;
    if (bytes <= largest || name === kept) continue;
    rmSync(path, { recursive: true, force: true });
    rmSync(`${path}.lock`, { force: true });
  }
}

const install = (from, to) => replaceFile(to, (path) => copyFileSync(from, path));

/** Replaces a file by a rename, so that a process that has loaded the old one keeps it. */
function replaceFile(to, write) {
  mkdirSync(dirname(to), { recursive: true });
  const fresh = `${to}.${process.pid}`;
  write(fresh);
  renameSync(fresh, to);
}

/**
 * Runs `work` while holding a lock that ends with this process in any case: `flock` holds it for a `cat` that reads
 * from us. Without `flock` there is no lock; two processes may then do the same work, and the last result is kept.
 */
export async function withLock(path, work, { onWait = () => {} } = {}) {
  const holder = spawn('flock', [path, 'sh', '-c', 'echo; exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = new Promise((done) => holder.once('error', done).once('exit', done));
  const held = new Promise((done) => holder.stdout.once('data', done));
  holder.stdin.on('error', () => {}); // flock could not be started
  const waiting = setTimeout(onWait, 500);
  await Promise.race([held, ended]);
  clearTimeout(waiting);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}

/** Makes `to` a copy of a folder by hard links, which take no space if both are on one file system. */
export function linkTree(from, to) {
  const partial = `${to}.partial-${process.pid}`;
  rmSync(partial, { recursive: true, force: true });
  try {
    linkInto(from, partial);
    rmSync(to, { recursive: true, force: true });
    renameSync(partial, to);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

function linkInto(from, to) {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) linkInto(source, target);
    else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target);
    else linkOrCopy(source, target);
  }
}

function linkOrCopy(source, target) {
  try {
    linkSync(source, target);
  } catch (error) {
    if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP'].includes(error.code)) throw error;
    copyFileSync(source, target);
  }
}
