import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { canMount, SmallDisk } from '../../../../test/small-disk.js';
import { LocalCopies } from './local-copies.js';

const MB = 1024 * 1024;

it.skipIf(!canMount)(
  'leaves most of a small disk free for uploads and keeps the files in use',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'graft-copies-'));
    const disk = SmallDisk.mount(join(folder, 'disk'), 64);
    try {
      const copies = new LocalCopies(join(disk.path, 'copies'));
      await copies.open();
      for (const [name, hours] of [
        ['oldest', 3],
        ['old', 2],
        ['young', 0],
      ] as const) {
        const path = join(disk.path, 'copies', name);
        writeFileSync(path, Buffer.alloc(14 * MB));
        const used = new Date(Date.now() - hours * 3600 * 1000);
        utimesSync(path, used, used);
      }
      await copies.shrink();
      expect(readdirSync(join(disk.path, 'copies'))).toEqual(['young']);
    } finally {
      disk.unmount();
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
