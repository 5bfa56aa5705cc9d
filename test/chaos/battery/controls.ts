// What the battery needs before its load: a base, data, and a run of each kind of job that nobody touches.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../e2e/installation.js';
import { writeChats, writeTinyBase } from '../../tiny-base.js';
import type { Control } from './clients.js';
import type { Cluster } from './cluster.js';

/** A base, data, and a run of each kind that nobody touches. */
export async function makeControls(cluster: Cluster, steps: number): Promise<Control[]> {
  const { url } = cluster.apis[0] as Cluster['apis'][number];
  const call = async <T>(path: string, init: RequestInit): Promise<T> => {
    const response = await fetch(`${url}/v1${path}`, {
      ...init,
      headers: { ...cluster.headers, ...init.headers },
    });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as T;
  };
  const post = <T>(path: string, body: object): Promise<T> =>
    call(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const source = `dir:${writeTinyBase(join(cluster.dir, 'tiny'))}`;
  await post('/models', { id: 'tiny', source });
  await until('the base', async () => {
    const { graft } = await call<{ graft: { status: string } }>('/models/tiny', {});
    return graft.status === 'ready';
  });
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  form.set(
    'file',
    new File([readFileSync(writeChats(join(cluster.dir, 'chats.jsonl'), 40))], 'chats.jsonl'),
  );
  const { id: training_file } = await call<{ id: string }>('/files', {
    method: 'POST',
    body: form,
  });
  const kinds = [11, 12, 13].map((seed) => ({
    name: `seed ${seed}`,
    body: {
      model: 'tiny',
      training_file,
      seed,
      // Four chats are more rows than share a forward: not a bit depends on the company.
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
  const controls = [];
  for (const { name, body } of kinds)
    controls.push({
      name,
      ...(await post<{ id: string }>('/fine_tuning/jobs', {
        ...body,
        metadata: { control: name },
      })),
    });
  for (const { name, id } of controls)
    await until(
      `the control of ${name}`,
      async () => {
        const { status, error } = await call<{ status: string; error: unknown }>(
          `/fine_tuning/jobs/${id}`,
          {},
        );
        if (status === 'failed') throw new Error(JSON.stringify(error));
        return status === 'succeeded';
      },
      120_000,
    );
  return kinds;
}
