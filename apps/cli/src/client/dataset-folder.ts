import {
  createReadStream,
  createWriteStream,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isNamedMedia } from '@graft/contracts/media-names';
import { makeZip } from 'client-zip';
import { CliError, EXIT } from '../cli-error.js';

export const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

/**
 * Zips a folder of `Dataset.save_to_disk`, or of images or audio clips, in the layout that the server expects.
 * The zip is deleted when `use` ends.
 */
export async function zipped<T>(folder: string, use: (path: string) => Promise<T>): Promise<T> {
  const names = filesOf(folder);
  const scratch = await mkdtemp(join(tmpdir(), 'graft-dataset-'));
  try {
    const path = join(scratch, `${basename(resolve(folder))}.zip`);
    const zip = Readable.fromWeb(makeZip(contents(folder, names)) as never);
    await pipeline(zip, createWriteStream(path));
    return await use(path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function filesOf(folder: string): string[] {
  const names = readdirSync(folder).sort();
  if (names.includes('state.json'))
    return names.filter((name) => name.endsWith('.json') || name.endsWith('.arrow'));
  if (!names.includes('dataset_dict.json')) return mediaIn(folder);
  const text = readFileSync(join(folder, 'dataset_dict.json'), 'utf8');
  const { splits = [] } = JSON.parse(text) as { splits?: readonly string[] };
  throw new CliError(
    `${folder} has several splits (${splits.join(', ')}); use the folder of one split, such as ${join(folder, splits[0] ?? 'train')}`,
    EXIT.usage,
  );
}

/** Images, audio clips and their metadata. Other files in the folder are not uploaded. */
function mediaIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .filter((name) => !/(^|\/)\./.test(name))
    .filter((name) => isNamedMedia(name) || /(^|\/)metadata\.(csv|jsonl)$/.test(name))
    .sort();
  if (names.length > 0) return names;
  throw new CliError(
    `${folder} has no state.json, images or audio; expected a file, a folder of Dataset.save_to_disk, an ImageFolder or an AudioFolder`,
    EXIT.usage,
  );
}

function* contents(folder: string, names: readonly string[]) {
  for (const name of names) {
    const path = join(folder, name);
    const { size, mtime } = statSync(path);
    yield { name, size, lastModified: mtime, input: createReadStream(path) };
  }
}
