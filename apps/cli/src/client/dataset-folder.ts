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

/** A folder that Hugging Face's datasets saved, or one of pictures or sounds, in a zip as the server takes it, which is there while `use` works. */
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
    `${folder} has the splits ${splits.join(', ')}: name the folder of one, such as ${join(folder, splits[0] ?? 'train')}`,
    EXIT.usage,
  );
}

/** Pictures, sounds and what is said of them: whatever else lies there is nobody's business. */
function mediaIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .filter((name) => !/(^|\/)\./.test(name))
    .filter((name) => isNamedMedia(name) || /(^|\/)metadata\.(csv|jsonl)$/.test(name))
    .sort();
  if (names.length > 0) return names;
  throw new CliError(
    `${folder} is a folder without state.json, pictures or sounds: expected a file, a folder that datasets' save_to_disk wrote, or an ImageFolder or AudioFolder`,
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
