// Prepares the battery's load: a base model, data, and one control run without faults for each kind of job.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../e2e/installation.js';
import { writeChats, writeTinyBase } from '../../tiny-base.js';
import { call } from './call.js';
import type { Control } from './clients.js';
import type { Cluster } from './cluster.js';
import type { Place } from './kinds/kind.js';
import type { Random } from './random.js';

export async function makeTraining(cluster: Cluster, random: Random): Promise<Place['training']> {
  const source = `dir:${writeTinyBase(join(cluster.dir, 'tiny'))}`;
  const body = { id: 'tiny', source };
  await call(cluster, random, { method: 'POST', path: '/models', body });
  await until('the base', async () => {
    const request = { path: '/models/tiny' };
    const { graft } = await call<{ graft: { status: string } }>(cluster, random, request);
    return graft.status === 'ready';
  });
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  form.set(
    'file',
    new File([readFileSync(writeChats(join(cluster.dir, 'chats.jsonl'), 40))], 'chats.jsonl'),
  );
  const { id } = await call(cluster, random, { method: 'POST', path: '/files', body: form });
  return { model: 'tiny', file: id ?? '' };
}

/** @returns the kinds of jobs, and the adapters of their control runs */
export async function makeControls(
  { cluster, random, training }: Place,
  steps: number,
): Promise<{ controls: readonly Control[]; adapters: readonly string[] }> {
  const controls = [11, 12, 13].map((seed): Control => ({
    name: `seed ${seed}`,
    body: {
      model: training.model,
      training_file: training.file,
      seed,
      // Four chats do not fit into a shared forward pass, so no bit of the result depends on concurrent jobs.
      hyperparameters: { batch_size: 4, n_epochs: 50 },
      peft: { peft_type: 'LORA', r: 4, lora_alpha: 8, lora_dropout: 0.1 },
      graft: {
        max_steps: steps,
        save_steps: Math.ceil(steps / 8),
        learning_rate: 0.01,
        base_dtype: 'f32',
      },
    },
  }));
  const ids: string[] = [];
  for (const { name, body } of controls) {
    const path = '/fine_tuning/jobs';
    const named = { ...body, metadata: { control: name } };
    const { id } = await call(cluster, random, { method: 'POST', path, body: named });
    ids.push(id ?? '');
  }
  const adapters: string[] = [];
  for (const id of ids)
    await until(
      `the control ${id}`,
      async () => {
        const {
          status,
          error,
          fine_tuned_model: model,
        } = await call<{
          status: string;
          error: unknown;
          fine_tuned_model: string | null;
        }>(cluster, random, { path: `/fine_tuning/jobs/${id}` });
        if (status === 'failed') throw new Error(JSON.stringify(error));
        if (status !== 'succeeded' || model === null) return false;
        adapters.push(model);
        return true;
      },
      120_000,
    );
  return { controls, adapters };
}
