// While a run initializes from its data, its trainer stays shared: others train, chats are answered, and it can be
// stopped.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TrainerProcess } from '@graft/worker';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testSpec } from '../test-spec.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';
import { onFact, type FlatFact as Fact, type FlatFactOf as FactOf } from './flat-facts.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'graft-looking-'));
  writeTinyBase(join(dir, 'base'));
  writeChats(join(dir, 'train.jsonl'), 60);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const SPEC = testSpec({
  model: 'base-1',
  peft: { peft_type: 'LORA', r: 2 },
  max_steps: 4,
});
/** EVA directions never converge to this threshold, so the initialization runs until it is stopped. */
const ENDLESS = { init_lora_weights: 'eva', eva_config: { tau: 1 }, target_modules: 'all-linear' };

it('runs between the turns of others, and stops on request', async () => {
  const trainer = new TrainerProcess({ threads: 1 });
  const facts: Fact[] = [];
  onFact(trainer, (fact) => void facts.push(fact));
  const next = <K extends Fact['type']>(type: K, where: (fact: FactOf<K>) => boolean) =>
    new Promise<FactOf<K>>((resolve, reject) => {
      const look = (fact: Fact): void => {
        if (fact.type === type && where(fact as FactOf<K>)) resolve(fact as FactOf<K>);
      };
      facts.forEach(look);
      onFact(trainer, look);
      void trainer.exited.then(({ message }) => reject(new Error(`no ${type}: ${message}`)));
    });
  const start = (jobId: string, peft: object): void =>
    void trainer.send({
      type: 'start',
      jobId,
      attempt: 1,
      spec: { ...SPEC, peft: { peft_type: 'LORA', r: 2, ...peft } },
      baseId: 'base-1',
      baseName: 'org/base-1',
      trainFile: join(dir, 'train.jsonl'),
      validFile: null,
      initAdapterDir: null,
      checkpointDir: null,
      workDir: join(dir, `work-${jobId}`),
    });
  const of = (jobId: string) => (fact: { readonly jobId?: string }) => fact.jobId === jobId;
  try {
    const load = { baseId: 'base-1', path: join(dir, 'base'), dtype: 'f32' } as const;
    trainer.send({ type: 'load', ...load, quantization: null });
    start('looking', ENDLESS);
    const phase = await next('phase', (fact) => fact.code === 'preparing');
    expect(phase.message).toMatch(/^Reading the training data to initialize the adapter: batch \d/);
    start('beside', {});
    await next('finished', of('beside'));
    // it was still initializing meanwhile
    expect(facts.some((fact) => fact.type === 'started' && fact.jobId === 'looking')).toBe(false);
    trainer.send({ type: 'stop', jobId: 'looking', attempt: 1, reason: 'cancel' });
    expect(await next('stopped', of('looking'))).toMatchObject({ reason: 'cancel', step: 0 });
    start('after', { init_lora_weights: 'lora_ga' });
    await next('finished', of('after'));
    const started = facts.filter((fact) => fact.type === 'started').map(({ jobId }) => jobId);
    expect(started).toEqual(['beside', 'after']);
    expect(facts.filter((fact) => fact.type === 'failed')).toEqual([]);
  } finally {
    trainer.kill();
    await trainer.exited;
  }
});
