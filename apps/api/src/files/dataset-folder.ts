// A folder of Hugging Face's datasets (save_to_disk) in a zip: state.json names its shards, which are Arrow streams.
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { DomainError } from '@graft/contracts';
import { openPromise, type Entry, type ZipFile } from 'yauzl';
import type { BlobStore, Received } from '../blobs/blob-store.js';
import { unpackedWithin } from './packed.js';
import { unreadable, type NumberedRow } from './rows.js';
import { tableRows } from './table-rows.js';

const MOST_ENTRIES = 10_000;
const MOST_STATE_BYTES = 2 ** 20;
const STATE = 'state.json';

interface Circumstances {
  readonly uploader: string;
  readonly gone: AbortSignal;
  /** Throws when so many bytes are too many. */
  readonly within?: (bytes: number) => void;
}

/** The rows of the one split that the zip has, shard after shard. */
export async function* datasetRows(
  blobs: BlobStore,
  { temporary, size }: Received,
  { uploader, gone, within }: Circumstances,
): AsyncGenerator<NumberedRow> {
  const zip = await reading(openPromise(temporary, { autoClose: false }));
  try {
    const shards = await shardsOf(zip);
    const bytes = shards.reduce((sum, entry) => sum + entry.uncompressedSize, 0);
    unpackedWithin(size)(bytes);
    within?.(bytes);
    let before = 0;
    for (const entry of shards) {
      let last = 0;
      for await (const row of shardRows(blobs, zip, entry, { uploader, gone })) {
        last = row.number;
        yield { ...row, number: before + row.number };
      }
      before += last;
    }
  } finally {
    zip.close();
  }
}

async function* shardRows(
  blobs: BlobStore,
  zip: ZipFile,
  entry: Entry,
  { uploader, gone }: Circumstances,
): AsyncGenerator<NumberedRow> {
  const content: Readable = await reading(zip.openReadStreamPromise(entry));
  const shard = await reading(
    blobs.receive(content, { uploader, announced: entry.uncompressedSize }),
  );
  try {
    yield* tableRows('arrow', shard.temporary, { uploader, gone });
  } finally {
    await blobs.discard(shard);
  }
}

/** @throws DomainError for an archive of anything else, with the way out */
async function shardsOf(zip: ZipFile): Promise<Entry[]> {
  if (zip.entryCount > MOST_ENTRIES)
    throw unreadable(`the ZIP archive has more than ${MOST_ENTRIES} files`);
  const entries = new Map<string, Entry>();
  for await (const entry of zip.eachEntry()) entries.set(entry.fileName, entry);
  if (entries.has('[Content_Types].xml'))
    throw unreadable('this is an Excel workbook: save the table as CSV');
  const states = [...entries.keys()].filter((name) => name.split('/').at(-1) === STATE);
  const [state] = states;
  if (state === undefined)
    throw unreadable(
      `this is a ZIP archive without pictures or sounds, and without ${STATE}, which a folder of Hugging Face's datasets has (save_to_disk): unpack it first`,
    );
  const folders = states.map((name) => name.slice(0, -STATE.length));
  if (folders.length > 1) {
    const splits = folders.map((folder) => folder.split('/').at(-2) ?? '').sort();
    throw unreadable(
      `the folder has several splits (${splits.slice(0, 10).join(', ')}): send the folder of one`,
    );
  }
  const files = dataFiles(await textOf(zip, entries.get(state) as Entry));
  return files.map((file) => {
    const entry = entries.get(`${folders[0]}${file}`);
    if (entry) return entry;
    throw unreadable(`${STATE} names ${file.slice(0, 100)}, which is not in the archive`);
  });
}

async function textOf(zip: ZipFile, entry: Entry): Promise<string> {
  if (entry.uncompressedSize > MOST_STATE_BYTES)
    throw unreadable(`${STATE} is larger than ${MOST_STATE_BYTES} bytes`);
  return (await reading(zip.openReadStreamPromise(entry).then(buffer))).toString('utf8');
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

async function reading<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof DomainError || (error as NodeJS.ErrnoException).code) throw error;
    throw unreadable(`the ZIP archive cannot be read: ${(error as Error).message}`);
  }
}
