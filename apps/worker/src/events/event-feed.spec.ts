import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventBatch, type Event } from '@graft/contracts/grpc';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EventFeed } from './event-feed.js';
import { Spool } from './spool.js';

let folder: string;
let spool: Spool;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-feed-'));
  spool = new Spool(join(folder, 'events'), { capBytes: 64 << 20 });
});
afterEach(() => {
  spool.close();
  rmSync(folder, { recursive: true, force: true });
});

const event = (sequence: number, bytes: number): Event => ({
  jobId: 'j',
  attempt: 1,
  sequence,
  atUnixMs: 0,
  kind: 'log',
  payload: Buffer.alloc(bytes, 'x'),
});

it('sends batches that fit in a message, each event once and in order', () => {
  const batches: EventBatch[] = [];
  const feed = new EventFeed(spool, {
    connection: {
      send: (message) => {
        if (message.$case === 'events') batches.push(message.value);
        return true;
      },
    },
    log: pino({ level: 'silent' }),
  });
  const sizes = Array.from({ length: 60 }, (_, i) => (i % 20 === 0 ? 1_000_000 : 100_000));
  sizes.forEach((bytes, i) => feed.add(event(i + 1, bytes)));
  feed.connected(4);
  for (let acknowledged = 0; acknowledged < batches.length; acknowledged++)
    feed.acknowledged(batches[acknowledged]?.sequence ?? 0);
  feed.stop();
  expect(batches.flatMap(({ events }) => events.map(({ sequence }) => sequence))).toEqual(
    sizes.map((_, i) => i + 1),
  );
  for (const batch of batches)
    expect(EventBatch.encode(batch).finish().length).toBeLessThan(2 << 20);
  expect(spool.length).toBe(0);
});
