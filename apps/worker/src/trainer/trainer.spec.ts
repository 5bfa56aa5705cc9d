import { expect, it } from 'vitest';
import type { Command, Fact } from '../protocol/protocol.js';
import { Trainer } from './trainer.js';
import { WorkMark } from './work-mark.js';

it('logs an unknown command of a newer agent and continues', () => {
  const sent: Fact[] = [];
  const trainer = new Trainer((fact) => sent.push(fact) > 0, new WorkMark(null));
  trainer.handle({ type: 'dance' } as unknown as Command);
  trainer.handle({ type: 'cancelAsk', id: 'nobody' });
  expect(sent).toEqual([
    expect.objectContaining({
      type: 'log',
      level: 'warn',
      message: expect.stringContaining('"dance"'),
    }),
  ]);
});
