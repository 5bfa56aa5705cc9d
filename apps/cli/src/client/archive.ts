import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { openPromise } from 'yauzl';
import type { Api } from './api.js';
import { CliError } from '../cli-error.js';

export interface Target {
  /** Path to write. Default: the name of the archive, in the current folder. */
  readonly out?: string | undefined;
  /** Whether to save the archive without unpacking it. */
  readonly zip?: boolean | undefined;
  /** Whether to overwrite existing files. */
  readonly force?: boolean | undefined;
}

/** Saves a fine-tuned model or a checkpoint as a folder or as a zip archive, completely or not at all. Returns its path. */
export async function saveModel(api: Api, model: string, target: Target): Promise<string> {
  const answer = await api.raw('GET', `/models/${encodeURIComponent(model)}/archive`);
  try {
    const name = archiveName(answer);
    const path = resolve(target.out ?? (target.zip ? name : name.replace(/\.zip$/, '')));
    if (!target.force) await refuseToOverwrite(path);
    await mkdir(dirname(path), { recursive: true });
    const scratch = await mkdtemp(`${path}.part-`);
    try {
      const zip = join(scratch, 'archive.zip');
      await pipeline(Readable.from(answer.body ?? []), createWriteStream(zip));
      await (target.zip ? rename(zip, path) : unpack(zip, path));
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
    return path;
  } finally {
    if (!answer.bodyUsed) await answer.body?.cancel();
  }
}

function archiveName(answer: Response): string {
  const [, name] =
    /filename="([\w.-]+\.zip)"/.exec(answer.headers.get('content-disposition') ?? '') ?? [];
  return name ?? 'model.zip';
}

async function refuseToOverwrite(path: string): Promise<void> {
  const inside = await readdir(path).catch((error: NodeJS.ErrnoException) =>
    error.code === 'ENOENT' ? [] : ['a file'],
  );
  if (inside.length > 0)
    throw new CliError(
      `${path} already exists; choose another path with --out, or overwrite it with --force`,
    );
}

/** Unpacks the folder in the archive. Extracts all files before it moves any of them into place. */
async function unpack(zip: string, folder: string): Promise<void> {
  const archive = await openPromise(zip);
  const whole = join(dirname(zip), 'files');
  const names: string[] = [];
  for await (const entry of archive.eachEntry()) {
    const name = entry.fileName.slice(entry.fileName.indexOf('/') + 1);
    const path = join(whole, name);
    await mkdir(dirname(path), { recursive: true });
    await pipeline(await archive.openReadStreamPromise(entry), createWriteStream(path));
    names.push(name);
  }
  for (const name of names) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await rename(join(whole, name), join(folder, name));
  }
}
