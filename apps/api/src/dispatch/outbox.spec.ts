import { describe, expect, it } from 'vitest';
import { Outbox } from './outbox.js';

describe('Outbox', () => {
  it('looks again after every nudge, at whatever moment of a run it comes', async () => {
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
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(looked, `nudged ${moment} turns after the first`).toBeGreaterThan(0);
    }
  });
});
