import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canMount, SmallDisk } from '../../../../test/small-disk.js';
import { DiskSpace } from './disk-space.js';

const MB = 1024 * 1024;

describe.skipIf(!canMount)('room on a disk of 64 MB', () => {
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

  it('is promised once, until it is used or given back', async () => {
    const first = await space.claim(40 * MB);
    await expect(space.claim(40 * MB)).rejects.toMatchObject({
      code: 'disk_full',
      message: expect.stringMatching(
        /^41943040 bytes are needed and 2\d{7} are free .* beside 41943040 for other uploads/,
      ) as unknown,
    });
    writeFileSync(join(disk.path, 'first'), Buffer.alloc(40 * MB));
    await first.use(40 * MB);
    const second = await space.claim(20 * MB);
    first.release();
    await expect(space.claim(20 * MB)).rejects.toMatchObject({ code: 'disk_full' });
    second.release();
    (await space.claim(20 * MB)).release();
  });

  it('ends at the reserve while bytes come of which nobody knew how many, or that others wrote', async () => {
    const unknown = await space.claim(null);
    writeFileSync(join(disk.path, 'database'), Buffer.alloc(63 * MB));
    await expect(unknown.use(20 * MB)).rejects.toMatchObject({ code: 'disk_full' });
    await expect(space.claim(null)).rejects.toMatchObject({ code: 'disk_full' });
    await expect(space.claim(64 * MB)).rejects.toMatchObject({ code: 'file_too_large' });
  });
});
