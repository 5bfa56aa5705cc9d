import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Spec } from '@graft/contracts';
import { Command_Action, type BlobRef } from '@graft/contracts/grpc';
import { expect, it } from 'vitest';
import { writeChats, writeTinyBase } from '../../../../test/tiny-base.js';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

// Operations on adapters in a real trainer.

const TRAINER = fileURLToPath(new URL('../../bundle/trainer/main.js', import.meta.url));
const TRAINING: Partial<Spec> = {
  peft: { peft_type: 'LORA', r: 2 },
  base_dtype: 'f32',
  max_steps: 3,
  learning_rate: 0.01,
};
const scene = useScene();

const jsonOf = (file: BlobRef | undefined): Record<string, unknown> =>
  JSON.parse(String(scene.plane.blobs.get(file?.sha256 ?? ''))) as Record<string, unknown>;

/** Names that start with the index of the file's adapter. */
const placed = (adapters: readonly (readonly BlobRef[])[]): BlobRef[] =>
  adapters.flatMap((files, i) => files.map((file) => ({ ...file, name: `${i}/${file.name}` })));

async function scenery(): Promise<(jobId: string, spec: Partial<Spec>, part?: object) => void> {
  const folder = writeTinyBase(join(scene.home, 'tiny'));
  const files = readdirSync(folder).map((name) =>
    scene.plane.blob(name, readFileSync(join(folder, name))),
  );
  const base = { id: 'tiny', nameOrPath: 'tiny', files };
  const data = readFileSync(writeChats(join(scene.home, 'chats.jsonl'), 4));
  const trainingFile = scene.plane.blob('train.jsonl', data);
  await scene.startAgent({}, { trainerMain: TRAINER });
  await scene.pulled();
  return (jobId, spec, part = {}) =>
    scene.plane.assign({ jobId, plan: {}, base, trainingFile, spec, ...part });
}

async function filesOf(jobId: string): Promise<Map<string, BlobRef>> {
  await until(
    `the end of ${jobId}`,
    () => {
      const failed = scene.plane.fact('failed', jobId);
      if (failed) throw new Error(`${failed.code}: ${failed.message}`);
      return scene.plane.fact('finished', jobId) !== undefined;
    },
    30_000,
  );
  const adapter = scene.plane.fact('finished', jobId)?.adapter ?? [];
  return new Map(adapter.map((file) => [file.name, file]));
}

it('combines, converts and merges trained adapters of the same base', async () => {
  const assign = await scenery();
  assign('lora', TRAINING);
  assign('loha', { ...TRAINING, peft: { peft_type: 'LOHA', r: 2 } });
  const [lora, loha] = [await filesOf('lora'), await filesOf('loha')];
  const operate = (jobId: string, operation: Spec['operation'], of: Map<string, BlobRef>[]): void =>
    assign(
      jobId,
      { ...TRAINING, operation },
      { trainingFile: undefined, initAdapter: placed(of.map((files) => [...files.values()])) },
    );

  operate('both', { type: 'combine', weights: [0.5, 0.5], combination_type: 'cat' }, [lora, lora]);
  const both = await filesOf('both');
  expect(jsonOf(both.get('adapter_config.json'))).toMatchObject({ peft_type: 'LORA', r: 4 });
  expect([...both.keys()].sort()).toEqual([...lora.keys()].sort());

  operate('converted', { type: 'convert', rank: 3 }, [loha]);
  const converted = await filesOf('converted');
  expect(jsonOf(converted.get('adapter_config.json'))).toMatchObject({ peft_type: 'LORA', r: 3 });
  const report = jsonOf(converted.get('conversion.json'));
  expect(report['error']).toBeLessThan(1);
  const logs = scene.plane.all('log', 'converted').map(({ message }) => message);
  expect(logs.join()).toMatch(/The LoRA has rank 3 and leaves out .* % of the update/);

  operate('merged', { type: 'merge' }, [converted]);
  const merged = await filesOf('merged');
  expect([...merged.keys()].sort()).toEqual(
    expect.arrayContaining(['config.json', 'model.safetensors', 'tokenizer.json']),
  );
  expect(scene.plane.fact('started', 'merged')).toMatchObject({ from_step: 0 });
  expect(scene.trainerPids()).toHaveLength(1);
}, 60_000);

it('names an adapter that does not fit, and stops on request', async () => {
  const assign = await scenery();
  assign('loha', { ...TRAINING, peft: { peft_type: 'LOHA', r: 2 } });
  const loha = [...(await filesOf('loha')).values()];
  const operation: Spec['operation'] = { type: 'combine', weights: [1], combination_type: 'cat' };
  const spec = { ...TRAINING, operation };
  const part = { trainingFile: undefined, initAdapter: placed([loha]) };
  assign('refused', spec, part);
  await until('its end', () => scene.plane.fact('failed', 'refused') !== undefined, 30_000);
  expect(scene.plane.fact('failed', 'refused')).toMatchObject({
    code: 'unsupported',
    message: 'adapters[0]: LOHA does not support weighted combination; convert it to LORA first',
    param: 'adapters[0]',
  });
  assign('cancelled', { ...TRAINING, operation: { type: 'merge' } }, part);
  scene.plane.send({
    $case: 'command',
    value: { jobId: 'cancelled', attempt: 1, action: Command_Action.ACTION_CANCEL },
  });
  await until('its end', () => scene.plane.fact('stopped', 'cancelled') !== undefined, 30_000);
}, 60_000);
