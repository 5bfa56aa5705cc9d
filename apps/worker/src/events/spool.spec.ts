import {
  appendFileSync,
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canMount, SmallDisk } from '../../../../test/small-disk.js';
import { Spool } from './spool.js';

let folder: string;
let path: string;
const open: Spool[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-spool-'));
  path = join(folder, 'events');
});
afterEach(() => {
  for (const spool of open.splice(0)) spool.close();
  rmSync(folder, { recursive: true, force: true });
});

function spoolOf(capBytes = 1 << 20): Spool {
  const spool = new Spool(path, { capBytes, syncMs: 20 });
  open.push(spool);
  return spool;
}

const text = (spool: Spool) =>
  Array.from({ length: spool.length }, (_, index) =>
    Buffer.from(spool.at(index)?.payload ?? []).toString(),
  );

describe('a spool', () => {
  it('is restored without acknowledged records', () => {
    const first = spoolOf();
    for (const word of ['one', 'two', 'three']) first.append(Buffer.from(word), word === 'two');
    const second = spoolOf();
    expect(text(second)).toEqual(['one', 'two', 'three']);
    expect(second.at(1)?.droppable).toBe(true);
    second.acknowledge(3);
    expect(statSync(path).size).toBe(0);
    expect(spoolOf().length).toBe(0);
  });

  it('closed twice does not close or write to a file with the reused descriptor', () => {
    const spool = spoolOf();
    spool.close();
    const others = openSync(join(folder, 'other'), 'w'); // reuses the descriptor that was just closed
    spool.append(Buffer.from('late'), false);
    spool.close();
    expect(fstatSync(others).size).toBe(0);
    closeSync(others);
  });

  it('truncates an incomplete tail and keeps earlier and later records', () => {
    const first = spoolOf();
    first.append(Buffer.from('whole'), false);
    appendFileSync(path, Buffer.from([9, 0, 0, 0, 1, 2, 3]));
    const second = spoolOf();
    expect(text(second)).toEqual(['whole']);
    second.append(Buffer.from('after'), false);
    expect(text(spoolOf())).toEqual(['whole', 'after']);
  });

  it.each([0, 4, 8, 12])('ignores a record damaged at byte %i and all after it', (at) => {
    const first = spoolOf();
    first.append(Buffer.from('front'), false);
    const front = statSync(path).size;
    first.append(Buffer.from('damaged'), false);
    first.append(Buffer.from('behind'), false);
    const content = readFileSync(path);
    content[front + at] = (content[front + at] ?? 0) ^ 0x55;
    writeFileSync(path, content);
    expect(text(spoolOf())).toEqual(['front']);
    expect(statSync(path).size).toBe(front);
  });

  it('drops only logs when it is full', () => {
    const spool = spoolOf(2000);
    const record = Buffer.alloc(91, 'x');
    for (let index = 0; index < 10; index += 1) spool.append(record, true);
    for (let index = 0; index < 15; index += 1) spool.append(record, false);
    expect(spool.dropped).toBe(10);
    expect(spool.length).toBe(15);
    for (let index = 0; index < 10; index += 1) spool.append(record, false);
    expect(spool.append(record, true)).toBe(false);
    expect(spool.length).toBe(25);
    expect(spoolOf(2000).length).toBe(25);
  });

  it('keeps records in flight when it drops others, so that acknowledgments still match', () => {
    const spool = spoolOf(700);
    for (const word of ['log 1', 'log 2', 'log 3'])
      spool.append(Buffer.from(word.padEnd(100)), true);
    spool.append(Buffer.alloc(500, 'm'), false, 2);
    expect(text(spool).map((word) => word.trim().slice(0, 5))).toEqual(['log 1', 'log 2', 'mmmmm']);
  });

  it('overwrites the file of an interrupted rewrite', () => {
    writeFileSync(`${path}.new`, Buffer.from([9, 0, 0, 0, 1, 2, 3]));
    const spool = spoolOf(40);
    spool.append(Buffer.from('a log of some length'), true);
    spool.append(Buffer.from('fact one'), false);
    spool.append(Buffer.from('fact two'), false);
    expect(text(spool)).toEqual(['fact one', 'fact two']);
    expect(text(spoolOf(40))).toEqual(['fact one', 'fact two']);
  });

  it('does not grow during long use', () => {
    const spool = spoolOf(64 << 20);
    const record = Buffer.alloc(10_000);
    for (let index = 0; index < 50; index += 1) spool.append(record, false);
    for (let index = 0; index < 2000; index += 1) {
      spool.append(record, false);
      spool.acknowledge(1);
    }
    expect(statSync(path).size).toBeLessThan(3 << 20);
    expect(spoolOf(64 << 20).length).toBeGreaterThanOrEqual(50);
  });

  it.skipIf(!canMount)(
    'keeps everything in memory while its disk is full, then writes it',
    async () => {
      const disk = SmallDisk.mount(folder, 1);
      try {
        const spool = spoolOf();
        spool.append(Buffer.from('before'), false);
        // Space for a part of the next record; the written part must not remain.
        disk.fill(4096);
        spool.append(Buffer.alloc(20_000, 'm'), false);
        expect(spool.failure).toMatchObject({ code: 'ENOSPC' });
        spool.append(Buffer.from('behind'), false);
        expect(text(spoolOf())).toEqual(['before']);
        disk.empty();
        await expect.poll(() => spool.failure).toBeNull();
        spool.append(Buffer.from('after'), false);
        expect(text(spoolOf())).toEqual(['before', 'm'.repeat(20_000), 'behind', 'after']);
      } finally {
        for (const spool of open.splice(0)) spool.close();
        disk.unmount();
      }
    },
  );
});
