// Detects the contents of a zip of training data: images or audio, or a folder of Hugging Face datasets
// (save_to_disk), whose state.json lists its shards, which are Arrow streams. It runs in a confined process.
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

/** Returns the shards of the only split, in order, or null if the zip contains images or audio. */
export async function shardsOf(path: string): Promise<ZipEntry[] | null> {
  if (await containsMedia(path)) return null;
  const zip = await openPromise(path, { autoClose: false });
  try {
    return await shardsIn(zip);
  } finally {
    zip.close();
  }
}

/** Whether a zip contains images or audio, judged by the first file of a known type. */
async function containsMedia(path: string): Promise<boolean> {
  const zip = await openZip(path).catch(() => null);
  if (zip === null) return false;
  try {
    let checkedEntries = 0;
    for await (const { name } of zip.entries()) {
      if (isNamedMedia(name) || isMetadata(name)) return true;
      if (/(^|\/)(state|dataset_dict)\.json$/.test(name) || ++checkedEntries > MOST_LOOKED_AT)
        return false;
    }
  } catch {
    // Errors are reported by the reader of the archive.
  } finally {
    await zip.close();
  }
  return false;
}

/**
 * Returns the shards.
 * @throws DomainError for an archive of anything else, with what to do
 */
async function shardsIn(zip: ZipFile): Promise<ZipEntry[]> {
  if (zip.entryCount > MOST_ENTRIES)
    throw unreadable(`the ZIP archive has more than ${MOST_ENTRIES} files`);
  const entries = new Map<string, { readonly entry: Entry; readonly at: number }>();
  let at = 0;
  for await (const entry of zip.eachEntry()) entries.set(entry.fileName, { entry, at: at++ });
  if (entries.has('[Content_Types].xml'))
    throw unreadable('this is an Excel workbook; save the table as CSV');
  const states = [...entries].filter(([name]) => name.split('/').at(-1) === STATE);
  const [state] = states;
  if (state === undefined)
    throw unreadable(
      `this ZIP archive has no images or audio, and no ${STATE} of a Hugging Face dataset (save_to_disk); unpack it and upload its files`,
    );
  const folders = states.map(([name]) => name.slice(0, -STATE.length));
  if (folders.length > 1) {
    const splits = folders.map((folder) => folder.split('/').at(-2) ?? '').sort();
    throw unreadable(
      `the folder has several splits (${splits.slice(0, 10).join(', ')}); upload the folder of one split`,
    );
  }
  const files = dataFiles(await textOf(zip, state[1].entry));
  return files.map((file) => {
    const found = entries.get(`${folders[0]}${file}`);
    if (found) return { at: found.at, size: found.entry.uncompressedSize };
    throw unreadable(`${STATE} lists ${file.slice(0, 100)}, which is not in the archive`);
  });
}

async function textOf(zip: ZipFile, entry: Entry): Promise<string> {
  if (entry.uncompressedSize > MOST_STATE_BYTES)
    throw unreadable(`${STATE} is larger than ${MOST_STATE_BYTES} bytes`);
  return (await buffer(await zip.openReadStreamPromise(entry))).toString('utf8');
}

/** Returns the names of the shards in order. */
function dataFiles(text: string): readonly string[] {
  const state = objectOf(text);
  const { _data_files: files, _indices_data_files: indices } = state;
  if (Array.isArray(indices) && indices.length > 0)
    throw unreadable(
      'the dataset is a selection of rows of another; call flatten_indices() and save it again',
    );
  const names = Array.isArray(files)
    ? files.map((file: { readonly filename?: unknown } | null) => file?.filename)
    : [];
  if (names.length > 0 && names.every((name) => typeof name === 'string')) return names;
  throw unreadable(`${STATE} lists no data files`);
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(text) ?? {}) as Readonly<Record<string, unknown>>;
  } catch {
    throw unreadable(`${STATE} is not JSON`);
  }
}
