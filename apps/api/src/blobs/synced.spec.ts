// Checks that bytes are synced before the file is renamed, and the folder before the caller gets a result. A test
// cannot cut the power, so this one records which files and folders are synced, when, and with which content.
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { BlobReceiver } from './blob-receiver.js';
import { FolderBackend } from './folder-backend.js';

const CONTENT = Buffer.from('weights that must outlast a power cut');
const SHA256 = createHash('sha256').update(CONTENT).digest('hex');

let folder: string;
let backend: FolderBackend;
let synced: { path: string; size: number; named: boolean }[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'graft-synced-'));
  backend = new FolderBackend(folder);
  await backend.open();
  synced = [];
  const probe = await open(folder, 'r');
  const handles = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  const sync = handles.sync;
  vi.spyOn(handles, 'sync').mockImplementation(async function (this: FileHandle) {
    await sync.call(this);
    const path = readlinkSync(`/proc/self/fd/${this.fd}`);
    synced.push({ path, size: statSync(path).size, named: existsSync(blob) });
  });
  const blob = join(folder, SHA256.slice(0, 2), SHA256);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

it('syncs the received bytes before the rename, and the folder before it returns', async () => {
  const source = (async function* () {
    yield CONTENT.subarray(0, 10);
    yield CONTENT.subarray(10);
  })();
  const received = await new BlobReceiver(backend.incoming).receive(source);
  expect(synced).toEqual([{ path: received.temporary, size: CONTENT.length, named: false }]);
  await backend.commit(received.temporary, received);
  expect(synced[1]).toMatchObject({ path: join(folder, SHA256.slice(0, 2)), named: true });
});
