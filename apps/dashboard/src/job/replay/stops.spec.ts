import type { CheckpointObject, JobObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { indexAt, promptOf, samplePromptOf, stopsOf } from './stops.js';

const job = (graft: object = {}) => ({ model: 'tiny', graft }) as unknown as JobObject;
const saved = (step: number, usable = true) =>
  ({
    step_number: step,
    fine_tuned_model_checkpoint: `ft:tiny:ckpt-step-${step}`,
    graft: { usable },
  }) as CheckpointObject;

describe('stops of the replay', () => {
  const rows = [saved(1200), saved(8, false), saved(4)];

  it('are the base and the checkpoints with an adapter, by step', () => {
    expect(stopsOf(job(), rows, 'chat').map(({ name }) => name)).toEqual([
      'Base model',
      'Step 4',
      'Step 1,200',
    ]);
    expect(stopsOf(job(), rows, 'chat')[0]?.model).toBe('tiny');
  });

  it('have no base if it has no head, or if the job continues an adapter', () => {
    expect(stopsOf(job(), rows, 'classify').map(({ step }) => step)).toEqual([4, 1200]);
    const continued = job({ init_adapter: 'ft:other' });
    expect(stopsOf(continued, rows, 'chat').map(({ step }) => step)).toEqual([4, 1200]);
  });

  it('are none without checkpoints', () => {
    expect(stopsOf(job(), [saved(8, false)], 'chat')).toEqual([]);
  });

  it('stay selected while others are added or deleted', () => {
    const stops = stopsOf(job(), [saved(12), saved(8), saved(4)], 'chat');
    expect(indexAt(stops, 8)).toBe(2);
    expect(indexAt(stops, 9)).toBe(2);
    expect(indexAt(stops, null)).toBe(3);
    expect(indexAt(stops.slice(2), 4)).toBe(0);
  });
});

describe('the suggested prompt', () => {
  it('is the last question of a chat, or the input of another record', () => {
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
      { role: 'user', content: 'three' },
      { role: 'assistant', content: 'four' },
    ];
    expect(promptOf({ messages })).toEqual({ system: 'Be brief.', text: 'three' });
    expect(promptOf({ completion: 'no', prompt: 'yes' })?.text).toBe('yes');
    expect(promptOf({ label: 'spam', text: 'win a prize' })?.text).toBe('win a prize');
    expect(promptOf({ image: 'data:' })).toBeNull();
  });

  it("is the job's first sample prompt, if it has one", () => {
    const messages = [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'c' },
    ];
    expect(samplePromptOf(job({ sample_prompts: ['a', 'b'] }))).toEqual({ system: '', text: 'a' });
    expect(samplePromptOf(job({ sample_prompts: [messages] }))).toEqual({
      system: 'Be kind.',
      text: 'c',
    });
    expect(samplePromptOf(job())).toBeNull();
  });
});
