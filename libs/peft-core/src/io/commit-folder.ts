// Commits a folder atomically, even on kill -9 or power failure: all files are written and synced under a
// temporary name, the folder is renamed, and its parent is synced. manifest.json lists the other files with
// their hashes; a folder is valid only if all of them verify.
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DomainError } from '@graft/contracts';

export interface FileFact {
  readonly name: string;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly size: number;
}

export const MANIFEST = 'manifest.json';

/**
 * Writes a folder with `write`, which fills a temporary folder. Replaces an existing folder of that name.
 * @returns the files in it; manifest.json is last if `manifest` is given
 */
export function commitFolder(
  dir: string,
  write: (tmp: string) => void,
  manifest: object | null,
): FileFact[] {
  const tmp = `${dir}.tmp-${process.pid}`;
  rmSync(tmp, { recursive: true, force: true });
  mkdirSync(tmp, { recursive: true });
  try {
    write(tmp);
    const files = describeFiles(tmp);
    if (manifest) {
      writeFileSync(join(tmp, MANIFEST), `${JSON.stringify({ ...manifest, files }, null, 1)}\n`);
      files.push(describeFile(tmp, MANIFEST));
    }
    for (const { name } of files) sync(join(tmp, name));
    sync(tmp);
    // rename cannot replace a folder that is not empty
    if (existsSync(dir)) renameSync(dir, `${tmp}.old`);
    renameSync(tmp, dir);
    sync(dirname(dir));
    rmSync(`${tmp}.old`, { recursive: true, force: true });
    return files;
  } catch (error) {
    rmSync(tmp, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Same as `commitFolder`, for large folders: `writing` fills the folder in pieces, and its yielded values are
 * passed on; `write` adds the other files. Leaves nothing if it is stopped early.
 */
export function* commitFolderInPieces(
  dir: string,
  writing: (parts: string) => Generator<number, void, undefined>,
  write: (tmp: string) => void,
): Generator<number, FileFact[], undefined> {
  const parts = `${dir}.parts`;
  rmSync(parts, { recursive: true, force: true });
  mkdirSync(parts, { recursive: true });
  try {
    yield* writing(parts);
    const moved = (tmp: string): void => {
      for (const name of readdirSync(parts)) renameSync(join(parts, name), join(tmp, name));
      write(tmp);
    };
    return commitFolder(dir, moved, null);
  } finally {
    rmSync(parts, { recursive: true, force: true });
  }
}

/**
 * Reads the manifest of a folder and verifies every file that it lists.
 * @throws DomainError damaged_checkpoint naming the file that is missing or changed
 */
export function readCommitted(dir: string): unknown {
  const broken = (what: string): DomainError =>
    new DomainError(
      'damaged_checkpoint',
      `checkpoint ${basename(dir)} is corrupt: ${what}; cannot resume from it`,
    );
  let manifest: { files?: FileFact[] };
  try {
    manifest = JSON.parse(readFileSync(join(dir, MANIFEST), 'utf8')) as typeof manifest;
  } catch (error) {
    throw broken(`${MANIFEST}: ${(error as Error).message}`);
  }
  if (!Array.isArray(manifest.files)) throw broken(`${MANIFEST} lists no files`);
  for (const { name, sha256, size } of manifest.files) {
    if (typeof name !== 'string' || basename(name) !== name)
      throw broken(`${MANIFEST} lists ${JSON.stringify(name)}`);
    if (!existsSync(join(dir, name))) throw broken(`${name} is missing`);
    const found = describeFile(dir, name);
    if (found.size !== size || found.sha256 !== sha256)
      throw broken(`${name} does not have the listed content`);
  }
  return manifest;
}

/** Removes temporary folders of interrupted commits in `parent`. */
export function sweepTemporary(parent: string): void {
  if (!existsSync(parent)) return;
  for (const name of readdirSync(parent)) {
    if (/\.tmp-\d+(\.old)?$/.test(name))
      rmSync(join(parent, name), { recursive: true, force: true });
  }
}

/** Folders `<prefix><step>` under `parent`, newest first. */
export function listNumbered(parent: string, prefix: string): { step: number; dir: string }[] {
  if (!existsSync(parent)) return [];
  return readdirSync(parent)
    .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
    .map((name) => ({ step: Number(name.slice(prefix.length)), dir: join(parent, name) }))
    .sort((a, b) => b.step - a.step);
}

export function removeFolder(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}

export function describeFiles(dir: string): FileFact[] {
  return readdirSync(dir)
    .sort()
    .map((name) => describeFile(dir, name));
}

function describeFile(dir: string, name: string): FileFact {
  return { name, sha256: hashFile(join(dir, name)), size: statSync(join(dir, name)).size };
}

/** sha256 of a file's bytes, lower-case hex. */
export function hashFile(path: string): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1 << 20);
  const fd = openSync(path, 'r');
  try {
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer))
      hash.update(buffer.subarray(0, n));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

function sync(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Bytes of the files in a folder. */
export const folderBytes = (dir: string): number =>
  readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
