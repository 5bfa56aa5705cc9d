// What a zip of training data is: pictures and sounds, or a folder of Hugging Face's datasets (save_to_disk), whose
// state.json names its shards, which are Arrow streams. Runs in a confined process.
import { buffer } from 'node:stream/consumers';
import { isNamedMedia } from '@graft/contracts';
import { openPromise, type Entry, type ZipFile } from 'yauzl';
import type { ZipEntry } from './zip-entries.js';
import { isMetadata } from './metadata-rows.js';
import { unreadable } from '../rows/rows.js';
import { openZip } from './zip-archive.js';

const MOST_ENTRIES = 10_000;
const MOST_LOOKED_AT = 10_000;
const MOST_STATE_BYTES = 2 ** 20;
const STATE = 'state.json';

/** The shards of its one split, in their order; null: it holds pictures or sounds. */
export async function shardsOf(path: string): Promise<ZipEntry[] | null> {
  if (await holdsMedia(path)) return null;
  const zip = await openPromise(path, { autoClose: false });
  try {
    return await shardsIn(zip);
  } finally {
    zip.close();
  }
}

/** Whether a zip is one of pictures or sounds, told by the first file that shows what it is. */
async function holdsMedia(path: string): Promise<boolean> {
  const zip = await openZip(path).catch(() => null);
  if (zip === null) return false;
  try {
    let looked = 0;
    for await (const { name } of zip.entries()) {
      if (isNamedMedia(name) || isMetadata(name)) return true;
      if (/(^|\/)(state|dataset_dict)\.json$/.test(name) || ++looked > MOST_LOOKED_AT) return false;
    }
  } catch {
    // whoever reads it says what is wrong with it
  } finally {
    await zip.close();
  }
  return false;
}

/** @throws DomainError for an archive of anything else, with the way out */
async function shardsIn(zip: ZipFile): Promise<ZipEntry[]> {
  if (zip.entryCount > MOST_ENTRIES)
    throw unreadable(`the ZIP archive has more than ${MOST_ENTRIES} files`);
  const entries = new Map<string, { readonly entry: Entry; readonly at: number }>();
  let at = 0;
  for await (const entry of zip.eachEntry()) entries.set(entry.fileName, { entry, at: at++ });
  if (entries.has('[Content_Types].xml'))
    throw unreadable('this is an Excel workbook: save the table as CSV');
  const states = [...entries].filter(([name]) => name.split('/').at(-1) === STATE);
  const [state] = states;
  if (state === undefined)
    throw unreadable(
      `this is a ZIP archive without pictures or sounds, and without ${STATE}, which a folder of Hugging Face's datasets has (save_to_disk): unpack it first`,
    );
  const folders = states.map(([name]) => name.slice(0, -STATE.length));
  if (folders.length > 1) {
    const splits = folders.map((folder) => folder.split('/').at(-2) ?? '').sort();
    throw unreadable(
      `the folder has several splits (${splits.slice(0, 10).join(', ')}): send the folder of one`,
    );
  }
  const files = dataFiles(await textOf(zip, state[1].entry));
  return files.map((file) => {
    const found = entries.get(`${folders[0]}${file}`);
    if (found) return { at: found.at, size: found.entry.uncompressedSize };
    throw unreadable(`${STATE} names ${file.slice(0, 100)}, which is not in the archive`);
  });
}

async function textOf(zip: ZipFile, entry: Entry): Promise<string> {
  if (entry.uncompressedSize > MOST_STATE_BYTES)
    throw unreadable(`${STATE} is larger than ${MOST_STATE_BYTES} bytes`);
  return (await buffer(await zip.openReadStreamPromise(entry))).toString('utf8');
}

/** Names of the shards, in their order. */
function dataFiles(text: string): readonly string[] {
  const state = objectOf(text);
  const { _data_files: files, _indices_data_files: indices } = state;
  if (Array.isArray(indices) && indices.length > 0)
    throw unreadable('the dataset is a selection of another: call flatten_indices() and save it');
  const names = Array.isArray(files)
    ? files.map((file: { readonly filename?: unknown } | null) => file?.filename)
    : [];
  if (names.length > 0 && names.every((name) => typeof name === 'string')) return names;
  throw unreadable(`${STATE} names no files of data`);
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(text) ?? {}) as Readonly<Record<string, unknown>>;
  } catch {
    throw unreadable(`${STATE} is not JSON`);
  }
}
