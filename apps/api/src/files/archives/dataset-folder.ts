// Reads a folder of Hugging Face datasets (save_to_disk) in a zip. Its shards are Arrow streams.
import type { BlobStore, Received } from '../../blobs/blob-store.js';
import { UNPACK_PROCESS } from '../../scripts.js';
import { confinedAnswer } from '../../sandbox/confined-answer.js';
import { unpackedSizeGuard } from './unpacked-size.js';
import { unreadable, type NumberedRow } from '../rows/rows.js';
import { tableRows } from '../rows/table-rows.js';
import { zipEntry, type ZipEntry } from './zip-entries.js';

const LOOK_MS = 60_000;
const UNPACK_MS = 30 * 60_000;

interface UnpackContext {
  readonly uploader: string;
  readonly gone: AbortSignal;
  /** Throws if that many bytes exceed a quota. */
  readonly within?: (bytes: number) => void;
}

const failure = (reason: string): Error =>
  unreadable(`the ZIP archive cannot be read: ${reason.slice(0, 200)}`);

/** Returns the shards of the only split in the zip, or null if the zip contains images or audio. */
export const datasetShards = (
  { temporary: path }: Received,
  { uploader: owner, gone }: UnpackContext,
): Promise<readonly ZipEntry[] | null> =>
  confinedAnswer({
    script: UNPACK_PROCESS,
    arguments: ['shards'],
    ...{ owner, path, gone, deadlineMs: LOOK_MS, failure },
  });

/** Yields the rows of the shards in order. */
export async function* datasetRows(
  blobs: BlobStore,
  zip: Received,
  shards: readonly ZipEntry[],
  of: UnpackContext,
): AsyncGenerator<NumberedRow> {
  const bytes = shards.reduce((sum, { size }) => sum + size, 0);
  unpackedSizeGuard(zip.size)(bytes);
  of.within?.(bytes);
  let before = 0;
  for (const shard of shards) {
    let last = 0;
    for await (const row of shardRows(blobs, zip, shard, of)) {
      last = row.number;
      yield { ...row, number: before + row.number };
    }
    before += last;
  }
}

async function* shardRows(
  blobs: BlobStore,
  { temporary: path }: Received,
  shard: ZipEntry,
  { uploader, gone, within }: UnpackContext,
): AsyncGenerator<NumberedRow> {
  const content = zipEntry(shard, { owner: uploader, path, gone, deadlineMs: UNPACK_MS, failure });
  const table = await blobs.receive(content, { uploader, announced: shard.size, within });
  try {
    yield* tableRows('arrow', table.temporary, { uploader, gone });
  } finally {
    await blobs.discard(table);
  }
}
