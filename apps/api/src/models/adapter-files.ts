// Which files of an upload are an adapter's: two as they are, or in a zip.
import type { Readable } from 'node:stream';
import { DomainError } from '@graft/contracts';
import { openPromise, type Entry, type ZipFile } from 'yauzl';
import type { BlobStore, Received } from '../blobs/blob-store.js';

export const CONFIG = 'adapter_config.json';
export const WEIGHTS = 'adapter_model.safetensors';
type Name = typeof CONFIG | typeof WEIGHTS;

/** Files of PEFT's folders beside the two, which are passed over. */
const BESIDE = /\.(md|txt|json|jinja|csv|model)$|^\.|\.gitattributes$/;
const PICKLE = /\.(bin|pt|pth|ckpt|pkl|pickle|joblib|npy|npz|h5|msgpack)$/i;
const MOST_ENTRIES = 1000;

export const isZip = (filename: string): boolean => /\.zip$/i.test(filename);

/** @throws DomainError for a file that is neither of the two */
export function wantedName(filename: string): Name {
  const name = plain(filename);
  if (name === CONFIG || name === WEIGHTS) return name;
  refusePickle(name);
  const message = `expected ${CONFIG} and ${WEIGHTS}, or one .zip with both, got ${JSON.stringify(name)}`;
  throw new DomainError('invalid_adapter', message, 'file');
}

const plain = (path: string): string => path.slice(path.lastIndexOf('/') + 1).slice(0, 200);

function refusePickle(name: string): void {
  if (!PICKLE.test(name)) return;
  const message = `${name} may be a pickle file, which can run code; convert it to safetensors (PEFT's save_pretrained does)`;
  throw new DomainError('invalid_adapter', message, 'file');
}

interface Circumstances {
  /** The project that sends them. */
  readonly uploader: string;
  /** Throws when so many bytes are too many. */
  readonly within: (bytes: number) => void;
}

/**
 * The two files of an archive, in whatever folder of it they lie together; others that hold no weights are passed over.
 * @throws DomainError for an archive without them, or with anything that could hold code
 */
export async function unpack(
  blobs: BlobStore,
  path: string,
  of: Circumstances,
  received: Map<string, Received>,
): Promise<void> {
  const zip = await opened(path);
  try {
    if (zip.entryCount > MOST_ENTRIES)
      throw new DomainError(
        'invalid_adapter',
        `the zip has more than ${MOST_ENTRIES} files`,
        'file',
      );
    for await (const entry of zip.eachEntry()) await take(blobs, zip, entry, of, received);
  } catch (error) {
    if (error instanceof DomainError) throw error;
    throw broken(error);
  } finally {
    zip.close();
  }
}

async function take(
  blobs: BlobStore,
  zip: ZipFile,
  entry: Entry,
  { uploader, within }: Circumstances,
  received: Map<string, Received>,
): Promise<void> {
  const name = plain(entry.fileName);
  if (name === '' || (name !== CONFIG && name !== WEIGHTS && BESIDE.test(name))) return;
  const wanted = wantedName(name);
  if (received.has(wanted))
    throw new DomainError('invalid_adapter', `the zip has ${wanted} twice`, 'file');
  within(entry.uncompressedSize);
  const content: Readable = await zip.openReadStreamPromise(entry);
  const announced = entry.uncompressedSize;
  received.set(wanted, await blobs.receive(content, { uploader, announced }));
}

async function opened(path: string): Promise<ZipFile> {
  try {
    return await openPromise(path, { autoClose: false });
  } catch (error) {
    throw broken(error);
  }
}

const broken = (error: unknown): DomainError =>
  new DomainError('invalid_adapter', `the zip cannot be read: ${(error as Error).message}`, 'file');
