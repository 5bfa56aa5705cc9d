import { startApi } from '@graft/api';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { scratchDatabase, type ScratchDatabase } from './scratch-database.js';

let database: ScratchDatabase;
let home: string;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'graft-refused-'));
  database = await scratchDatabase();
});
afterAll(async () => {
  vi.restoreAllMocks();
  await database?.close();
  rmSync(home, { recursive: true, force: true });
});

it('a failed start of one component stops all timers of the others', async () => {
  const started = vi.spyOn(globalThis, 'setInterval');
  const ended = vi.spyOn(globalThis, 'clearInterval');
  const config = { home, databaseUrl: database.url, outboundNetworks: ['10.0.0.0'] };
  await expect(startApi(config)).rejects.toThrow('expected networks such as 10.0.0.0/8');
  const over = new Set(ended.mock.calls.map(([timer]) => timer));
  const atWork = started.mock.calls.filter((_, n) => !over.has(started.mock.results[n]?.value));
  expect(atWork.map(([work]) => String(work))).toEqual([]);
});
