import { describe, expect, it } from 'vitest';
import { scratchDatabase } from '../../test/scratch-database.js';
import { Database } from '../database/database.js';
import { Outbox } from './outbox.js';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('Outbox', () => {
  it('relays the first nudge immediately and the following ones together', async () => {
    let relays = 0;
    const database = {
      transaction: () => {
        relays++;
        return Promise.resolve([]);
      },
    };
    const outbox = new Outbox(database as never, { queue: {} } as never);
    outbox.nudge();
    expect(relays).toBe(1);
    const start = performance.now();
    while (performance.now() - start < 450) {
      outbox.nudge();
      await pause(3);
    }
    expect(relays).toBeGreaterThan(1);
    expect(relays).toBeLessThanOrEqual(6);
    await outbox.settled();
  });

  it('relays again after a nudge at any moment of a run', async () => {
    for (let moment = 0; moment < 16; moment++) {
      let nudged = false;
      let looked = 0;
      const database = {
        transaction: () => {
          if (nudged) looked++;
          return Promise.resolve([]);
        },
      };
      const outbox = new Outbox(database as never, { queue: {} } as never);
      outbox.nudge();
      for (let turn = 0; turn < moment; turn++) await null;
      nudged = true;
      outbox.nudge();
      for (let n = 0; n < 500 && looked === 0; n++) await pause(10);
      expect(looked, `nudged ${moment} turns after the first`).toBeGreaterThan(0);
    }
  });

  it('marks a token as sent only after the queue has accepted it', async () => {
    const scratch = await scratchDatabase();
    try {
      const database = new Database(scratch.source);
      const ask = <Row>(sql: string, values: unknown[] = []) => database.query<Row>(sql, values);
      await ask(`INSERT INTO outbox (job_id, attempt, pool) VALUES ('job', 0, 'pool')`);
      const sent = async () =>
        (await ask<{ sent: boolean }>('SELECT sent_at IS NOT NULL AS sent FROM outbox'))[0]?.sent;
      let has: (error?: Error) => void = () => undefined;
      const add = () =>
        new Promise<void>((resolve, reject) => {
          has = (error) => (error ? reject(error) : resolve());
        });
      const outbox = new Outbox(database, { queue: { add } } as never);
      const relay = async (error?: Error): Promise<void> => {
        outbox.nudge();
        await new Promise((resolve) => setTimeout(resolve, 300));
        expect(await sent()).toBe(false);
        has(error);
        await outbox.settled();
      };
      await relay(new Error('the queue is gone'));
      expect(await sent()).toBe(false);
      await relay();
      expect(await sent()).toBe(true);
    } finally {
      await scratch.close();
    }
  });
});
