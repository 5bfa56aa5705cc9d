import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canMount, SmallDisk } from '../../../../test/small-disk.js';
import { DiskSpace } from './disk-space.js';

const MB = 1024 * 1024;

describe.skipIf(!canMount)('free space on a disk of 64 MB', () => {
  let folder: string;
  let disk: SmallDisk;
  let space: DiskSpace;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'graft-space-'));
    disk = SmallDisk.mount(join(folder, 'disk'), 64);
    space = new DiskSpace(disk.path);
  });
  afterEach(() => {
    disk.unmount();
    rmSync(folder, { recursive: true, force: true });
  });

  it('is reserved one slice ahead of the received bytes, never for the whole announced size', async () => {
    const announced = await Promise.all(['a', 'b', 'c'].map((by) => space.claim(40 * MB, by)));
    const other = await space.claim(null);
    // Two claims hold a slice of 16 MB minus the byte that was written; the third holds almost a slice.
    for (const claim of announced) await claim.use(1);
    await other.use(12 * MB);
    writeFileSync(join(disk.path, 'other'), Buffer.alloc(12 * MB));
    await expect(other.use(12 * MB)).rejects.toMatchObject({ code: 'disk_full' });
    for (const claim of announced) claim.release();
    await other.use(12 * MB);
    other.release();
  });

  it('is reserved by one uploader up to one half, regardless of its number of uploads', async () => {
    for (let n = 0; n < 10; n++) await (await space.claim(40 * MB, 'a')).use(1);
    const other = await space.claim(20 * MB, 'b');
    await other.use(20 * MB);
    writeFileSync(join(disk.path, 'other'), Buffer.alloc(20 * MB));
    // A single upload may still use all of the space.
    other.release();
    const last = await space.claim(null, 'a');
    for (const n of [1, 2, 3]) {
      await last.use(3 * MB);
      writeFileSync(join(disk.path, `last${n}`), Buffer.alloc(3 * MB));
    }
  });

  it('is left by uploads for workers and the API', async () => {
    writeFileSync(join(disk.path, 'database'), Buffer.alloc(61.5 * MB));
    await expect(space.claim(null, 'a')).rejects.toMatchObject({ code: 'disk_full' });
    await (await space.claim(MB)).use(MB);
  });

  it('is checked again after each slice', async () => {
    const claim = await space.claim(40 * MB);
    await claim.use(1);
    writeFileSync(join(disk.path, 'database'), Buffer.alloc(60 * MB));
    await claim.use(16 * MB - 1);
    await expect(claim.use(3 * MB)).rejects.toMatchObject({ code: 'disk_full' });
    claim.release();
  });

  it('is refused immediately if there is not enough', async () => {
    writeFileSync(join(disk.path, 'database'), Buffer.alloc(30 * MB));
    await expect(space.claim(40 * MB)).rejects.toMatchObject({
      code: 'disk_full',
      message: "the server's disk does not have enough free space; try again later",
    });
    (await space.claim(20 * MB)).release();
  });

  it('ends at the reserve for uploads of unknown size and with writes by others', async () => {
    const unknown = await space.claim(null);
    writeFileSync(join(disk.path, 'database'), Buffer.alloc(63 * MB));
    await expect(unknown.use(20 * MB)).rejects.toMatchObject({ code: 'disk_full' });
    await expect(space.claim(null)).rejects.toMatchObject({ code: 'disk_full' });
    await expect(space.claim(64 * MB)).rejects.toMatchObject({ code: 'file_too_large' });
  });
});
