import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Progress } from '../example.js';
import { readDeb } from '../formats/deb.js';
import { fetchPinned } from './download.js';
import type { TarEntry } from '../formats/tar.js';

/** Package of Debian's archive. */
export interface DebianPackage {
  /** Path in the archive. */
  readonly path: string;
  readonly sha256: string;
  /** Name of the content that it is downloaded for. */
  readonly what: string;
}

/** Downloads a package to `cache` and yields its regular files. */
export async function debianFiles(
  { path, sha256, what }: DebianPackage,
  cache: string,
  progress: Progress,
): Promise<Generator<TarEntry>> {
  const mirror = process.env.GRAFT_DEBIAN_MIRROR || 'https://deb.debian.org/debian';
  const deb = join(cache, basename(path));
  const url = `${mirror.replace(/\/+$/, '')}/${path}`;
  await fetchPinned({ url, algorithm: 'sha256', digest: sha256, what }, deb, progress);
  return readDeb(await readFile(deb));
}
