// Kills a trainer with SIGKILL at random times and resumes it from its newest complete checkpoint until it
// finishes. The loss of every step, replays included, and the adapter's bytes must equal those of an
// uninterrupted run.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import { listNumbered, readCommitted } from '@graft/peft-core';
import { TrainerProcess } from '@graft/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testSpec } from '../test-spec.js';
import { isAllTier } from '../tier.js';
import { on } from '../trainer/flat-facts.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';

const KILLS = isAllTier ? 25 : 6;

let dir: string;
let base: string;
let data: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'graft-kill-'));
  base = writeTinyBase(join(dir, 'base'));
  data = writeChats(join(dir, 'train.jsonl'), 22);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

// Dropout, shuffling, accumulation and a short last step in each epoch: everything whose result could depend
// on earlier steps.
const SPEC = testSpec({
  model: 'base-1',
  peft: { peft_type: 'LORA', r: 4, lora_alpha: 8, lora_dropout: 0.2, target_modules: 'all-linear' },
  seed: 11,
  batch_size: 2,
  n_epochs: 6,
  lr_schedule: 'cosine',
  warmup_ratio: 0.1,
  weight_decay: 0.01,
  gradient_accumulation_steps: 2,
  save_steps: 4,
  base_dtype: 'bf16',
});

interface Outcome {
  readonly sha256: string;
  /** All reported losses of each step, replays included. */
  readonly losses: ReadonlyMap<number, readonly number[]>;
  readonly starts: number;
  readonly from: readonly number[];
}

/** Trains to the end. Kills the process `kills` times, each a random time after a random step. */
async function train(name: string, spec: Spec, kills: number): Promise<Outcome> {
  const workDir = join(dir, name);
  const losses = new Map<number, number[]>();
  const from: number[] = [];
  for (let starts = 1; ; starts++) {
    const trainer = new TrainerProcess({ threads: 1 });
    // The first process is killed after its first checkpoint, so that there is one to resume from.
    const least = starts === 1 ? spec.save_steps + 1 : 0;
    const victimAfter = kills >= starts ? least + Math.floor(Math.random() * 9) : Infinity;
    let seen = 0;
    let sha256: string | null = null;
    let failure: string | null = null;
    on(trainer, 'started', ({ from_step: step }) => void from.push(step));
    on(trainer, 'step', ({ step, metrics: { loss = NaN } }) => {
      losses.set(step, [...(losses.get(step) ?? []), loss]);
      if (seen++ === victimAfter) setTimeout(() => trainer.kill('SIGKILL'), Math.random() * 30);
    });
    on(trainer, 'failed', ({ code, message }) => {
      failure = `${code}: ${message}`;
      trainer.end();
    });
    on(trainer, 'loadFailed', ({ message }) => {
      failure = message;
      trainer.end();
    });
    on(trainer, 'finished', () => {
      sha256 = hash(join(workDir, 'adapter', 'adapter_model.safetensors'));
      trainer.end();
    });
    trainer.send({
      type: 'load',
      baseId: 'base-1',
      path: base,
      dtype: spec.base_dtype,
      quantization: null,
    });
    trainer.send({
      type: 'start',
      jobId: 'job',
      attempt: starts,
      spec,
      baseId: 'base-1',
      baseName: 'org/base-1',
      trainFile: data,
      validFile: null,
      initAdapterDir: null,
      checkpointDir: newestWhole(workDir),
      workDir,
    });
    await trainer.exited;
    if (failure) throw new Error(failure);
    if (sha256) return { sha256, losses, starts, from };
  }
}

function newestWhole(workDir: string): string | null {
  for (const { dir: folder } of listNumbered(workDir, 'checkpoint-')) {
    readCommitted(folder); // throws if it is incomplete: a checkpoint is renamed only when it is complete
    return folder;
  }
  return null;
}

function hash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

describe('a trainer killed at random', () => {
  it('produces the same losses and the same bytes', async () => {
    const whole = await train('whole', SPEC, 0);
    expect([...whole.losses.keys()]).toEqual(Array.from({ length: 36 }, (_, i) => i + 1));

    const killed = await train('killed', SPEC, KILLS);
    expect(killed.starts).toBeGreaterThan(3);
    expect(Math.max(...killed.from)).toBeGreaterThan(0);
    for (const [step, values] of killed.losses) {
      for (const value of values) expect(value, `step ${step}`).toBe(whole.losses.get(step)?.[0]);
    }
    expect(killed.sha256).toBe(whole.sha256);

    // Negative control: another seed results in other bytes.
    const other = await train('other-seed', { ...SPEC, seed: 12 }, 0);
    expect(other.sha256).not.toBe(whole.sha256);
    expect(other.losses.get(2)?.[0]).not.toBe(whole.losses.get(2)?.[0]);
  });

  it('rejects a checkpoint with changed bytes, and one of another run', async () => {
    const workDir = join(dir, 'killed');
    const [{ dir: checkpoint } = { dir: '' }] = listNumbered(workDir, 'checkpoint-');
    expect(await failureOf({ ...SPEC, learning_rate: 0.02 }, checkpoint)).toMatch(
      /^invalid_state: .*other settings/,
    );
    const state = join(checkpoint, 'state.safetensors');
    const bytes = readFileSync(state);
    bytes[bytes.length - 5] = (bytes[bytes.length - 5] as number) ^ 1;
    writeFileSync(state, bytes);
    expect(await failureOf(SPEC, checkpoint)).toMatch(/^damaged_checkpoint: .*state\.safetensors/);
  });
});

async function failureOf(spec: Spec, checkpointDir: string): Promise<string> {
  const trainer = new TrainerProcess({ threads: 1 });
  const failed = new Promise<string>((resolve) =>
    on(trainer, 'failed', ({ code, message }) => resolve(`${code}: ${message}`)),
  );
  trainer.send({
    type: 'load',
    baseId: 'base-1',
    path: base,
    dtype: spec.base_dtype,
    quantization: null,
  });
  trainer.send({
    type: 'start',
    jobId: 'job',
    attempt: 1,
    spec,
    baseId: 'base-1',
    baseName: 'org/base-1',
    trainFile: data,
    validFile: null,
    initAdapterDir: null,
    checkpointDir,
    workDir: join(dir, 'refused'),
  });
  const message = await failed;
  trainer.end();
  await trainer.exited;
  return message;
}
