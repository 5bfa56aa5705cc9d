// Helpers for specs of image and audio runs: options, and training to the end or to a pause.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Spec } from '@graft/contracts';
import {
  answersTo,
  characterErrors,
  RunGroup,
  takeTurn,
  wordErrors,
  type Base,
  type FactOfRun,
  type Model,
  type Run,
  type RunFact,
} from '@graft/peft-core';
import { testSpec } from '../test-spec.js';

export const mediaSpec = (task: string): Spec =>
  testSpec({
    task,
    peft: { peft_type: 'LORA', r: 4, target_modules: ['q_proj', 'v_proj'], lora_dropout: 0.1 },
    n_epochs: 4,
    learning_rate: 0.03,
    lr_schedule: 'constant',
  });

/** Trains runs and returns their facts. @param until step at which they pause */
export function train(
  model: Model,
  runs: readonly Run[],
  until = Infinity,
): Map<number, RunFact[]> {
  const group = new RunGroup(model);
  const facts = new Map(runs.map(({ id }) => [id, [] as RunFact[]]));
  for (const run of runs) group.add(run);
  while (group.size > 0)
    takeTurn(group, (run, fact) => {
      facts.get(run.id)?.push(fact);
      if (run.step >= until) run.stopping ??= 'pause';
    });
  return facts;
}

export const finished = (facts: readonly RunFact[]) => facts.at(-1) as FactOfRun<'finished'>;

/** Bytes of the adapter. */
export const adapterOf = (facts: readonly RunFact[]): Buffer =>
  readFileSync(join(finished(facts).dir, 'adapter_model.safetensors'));

/** Error rates of the transcripts of all clips in a file, with Whisper's text normalization. */
export function errorRates(
  base: Base,
  run: Run,
  file: string,
  normalize: (text: string) => string,
): { wer: number; cer: number } {
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  const records = lines.map((line) => JSON.parse(line) as { audio: string; text: string });
  const options = run.spec.task_options;
  const infer = run.task.infer!;
  const asked = records.map(({ audio }) => infer.record(audio));
  const how = { maxSeqLen: 1000, vocabSize: base.model.vocabSize, taskOptions: options };
  const examples = infer.encode(asked, base.processor, how).map(({ example }) => example);
  const answers = answersTo(infer, base.model, [{ run: run.id, examples, options }]);
  const pairs = answers.map((answer, i) =>
    [(answer as { text: string }).text, records[i]!.text].map(normalize),
  ) as [string, string][];
  const rate = (errorsOf: typeof wordErrors): number => {
    const found = pairs.map((pair) => errorsOf(...pair));
    const sum = (of: 'errors' | 'length'): number => found.reduce((all, one) => all + one[of], 0);
    return sum('errors') / sum('length');
  };
  return { wer: rate(wordErrors), cer: rate(characterErrors) };
}
