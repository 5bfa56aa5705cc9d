import { DomainError } from '@graft/contracts';
import type { BlobStore, Received } from '../../blobs/blob-store.js';
import { confinedAnswer } from '../../sandbox/confined-answer.js';
import { zipEntry } from '../../files/archives/zip-entries.js';
import { INSPECT_PROCESS } from '../../scripts.js';
import type { AdapterEntry } from './adapter-zip.js';

const LOOK_MS = 60_000;
const UNPACK_MS = 5 * 60_000;

interface UnpackContext {
  /** ID of the project that uploads the files. */
  readonly uploader: string;
  /** Aborted when the client no longer waits. */
  readonly gone: AbortSignal;
  /** Throws if the size exceeds the quota. */
  readonly within: (bytes: number) => void;
}

const failure = (reason: string): DomainError =>
  new DomainError('invalid_adapter', `the zip cannot be read: ${reason.slice(0, 200)}`, 'file');

/**
 * Finds and unpacks the two files of an archive, in separate processes.
 * @throws DomainError for an archive that cannot be read, or that contains anything that could be code
 */
export async function unpack(
  blobs: BlobStore,
  path: string,
  { uploader, gone, within }: UnpackContext,
  received: Map<string, Received>,
): Promise<void> {
  const order = { owner: uploader, path, gone, kind: 'adapter', failure } as const;
  const entries = await confinedAnswer<readonly AdapterEntry[]>({
    ...order,
    script: INSPECT_PROCESS,
    arguments: ['zip'],
    deadlineMs: LOOK_MS,
  });
  for (const entry of entries) {
    const { name, size: announced } = entry;
    if (received.has(name))
      throw new DomainError('invalid_adapter', `the zip contains ${name} twice; keep one`, 'file');
    within(announced);
    const content = zipEntry(entry, { ...order, deadlineMs: UNPACK_MS });
    received.set(name, await blobs.receive(content, { uploader, announced, within }));
  }
}
