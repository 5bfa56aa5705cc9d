import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Spec } from '@graft/contracts';
import type { BaseRef, BlobRef } from '@graft/contracts/grpc';
import { beforeEach, describe, expect, it } from 'vitest';
import { writeChats, writeTinyBase } from '../../../../test/tiny-base.js';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

const TRAINER = fileURLToPath(new URL('../../dist/trainer/main.js', import.meta.url));
const SPEC: Partial<Spec> = {
  peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1 },
  batch_size: 4,
  n_epochs: 50,
  max_steps: 40,
  learning_rate: 0.01,
  max_grad_norm: 1,
  save_steps: 10,
};

const scene = useScene();
let base: BaseRef;
let trainingFile: BlobRef;

beforeEach(() => {
  const folder = writeTinyBase(join(scene.home, 'tiny'));
  base = {
    id: 'tiny',
    files: readdirSync(folder).map((name) =>
      scene.plane.blob(name, readFileSync(join(folder, name))),
    ),
  };
  trainingFile = scene.plane.blob(
    'train.jsonl',
    readFileSync(writeChats(join(scene.home, 'chats.jsonl'), 40)),
  );
});

const adapterOf = (job: string, epoch = 1) =>
  scene.plane
    .fact('finished', job, epoch)
    ?.adapter.find((file) => file.name === 'adapter_model.safetensors')?.sha256;

const lossesOf = (job: string, epoch = 1) =>
  scene.plane
    .facts(job, epoch)
    .flatMap(({ fact }) => (fact?.$case === 'step' ? [[fact.value.step, fact.value.loss]] : []));

describe('the real trainer under the agent', () => {
  it('trains, resumes after kill -9 to the same bytes, packs two runs, and answers', async () => {
    await scene.startAgent({}, { trainerMain: TRAINER });
    await scene.pulled();
    expect(scene.plane.hellos[0]?.libtorch).toMatch(/^\d+\.\d+/);
    const assign = (jobId: string, more: object = {}) =>
      scene.plane.assign({ jobId, plan: {}, base, trainingFile, spec: SPEC, ...more });

    assign('whole');
    await until('the whole run', () => scene.plane.fact('finished', 'whole'), 20_000);
    expect(lossesOf('whole').map(([step]) => step)).toEqual(
      Array.from({ length: 40 }, (_, index) => index + 1),
    );
    expect(
      scene.plane
        .fact('finished', 'whole')
        ?.adapter.map((file) => file.name)
        .sort(),
    ).toEqual(['README.md', 'adapter_config.json', 'adapter_model.safetensors']);

    assign('killed');
    const saved = await until('a checkpoint', () => scene.plane.fact('saved', 'killed'), 20_000);
    for (const pid of scene.trainerPids()) process.kill(pid, 'SIGKILL');
    const failed = await until('failed', () => scene.plane.fact('failed', 'killed'));
    expect(failed).toMatchObject({ code: 'crash', retryable: true });
    assign('killed', { epoch: 2, checkpoint: saved.files, checkpointStep: saved.step });
    await until('the second attempt', () => scene.plane.fact('finished', 'killed', 2), 20_000);
    expect(scene.plane.fact('started', 'killed', 2)?.fromStep).toBe(saved.step);
    expect(lossesOf('killed', 2)).toEqual(lossesOf('whole').slice(saved.step));
    expect(adapterOf('killed', 2)).toBe(adapterOf('whole'));

    assign('one');
    assign('two', { spec: { ...SPEC, seed: 8 } });
    for (const job of ['one', 'two'])
      await until(job, () => scene.plane.fact('finished', job), 20_000);
    expect(scene.trainerPids()).toHaveLength(1);
    expect(adapterOf('two')).not.toBe(adapterOf('one'));

    const adapter = [...(scene.plane.fact('finished', 'whole')?.adapter ?? [])];
    const request = {
      id: 'g1',
      base,
      adapter,
      messagesJson: JSON.stringify([{ role: 'user', content: 'what is 3 plus 3?' }]),
      maxTokens: 8,
      temperature: 0,
      topP: 1,
      seed: 1,
      stop: [],
      baseDtype: 'f32',
    };
    scene.plane.send({ $case: 'generate', value: request });
    const last = await until(
      'an answer',
      () => scene.plane.chunks.find((chunk) => chunk.finishReason !== ''),
      20_000,
    );
    expect(last.errorMessage).toBe('');
    expect(last.completionTokens).toBeGreaterThan(0);
  }, 90_000);

  it('tells a user error as one, with its field', async () => {
    await scene.startAgent({}, { trainerMain: TRAINER });
    await scene.pulled();
    scene.plane.assign({
      plan: {},
      base,
      trainingFile,
      spec: { ...SPEC, peft: { peft_type: 'LORA', target_modules: ['nothing'] } },
    });
    const failed = await until('failed', () => scene.plane.fact('failed'), 20_000);
    expect(failed.retryable).toBe(false);
    expect(failed.param).toBe('peft.target_modules');
  }, 30_000);
});
