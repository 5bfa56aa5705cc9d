import { DomainError, type FineTuningMethod } from '@graft/contracts';
import { shown } from '../data/json-scan.js';
import type { InputKind } from '../nn/front-ends/registry.js';
import type { ModelKind, StackKinds } from '../nn/outline/model-paths.js';
import { registry } from '../plug-in-registry.js';
import { audioCls } from './audio-cls.js';
import { causalLm } from './causal-lm.js';
import { cpo } from './cpo.js';
import { ctc } from './ctc.js';
import { dpo } from './dpo.js';
import { featureExtraction } from './feature-extraction.js';
import { questionAns } from './question-ans.js';
import { imageCls } from './image-cls.js';
import { imageFeatureExtraction } from './image-feature-extraction.js';
import { kto } from './kto.js';
import { orpo } from './orpo.js';
import { seq2SeqLm } from './seq-2-seq-lm.js';
import { seqCls } from './seq-cls.js';
import { speechSeq2Seq } from './speech-seq-2-seq.js';
import { tokenCls } from './token-cls.js';
import type { Task } from './task.js';

/** All tasks. The catalog, validation and the docs are derived from this list. */
export const tasks: readonly Task[] = [
  causalLm,
  dpo,
  cpo,
  orpo,
  kto,
  seq2SeqLm,
  seqCls,
  tokenCls,
  questionAns,
  featureExtraction,
  imageCls,
  imageFeatureExtraction,
  // Before the other audio tasks: with a base model that generates text, the default is to transcribe.
  speechSeq2Seq,
  audioCls,
  ctc,
];

const byName = registry('task', tasks, ({ name }) => [name]);

/** @throws DomainError with param `graft.task` */
export function taskFor(name: string): Task {
  const task = byName.get(name);
  if (task) return task;
  const message = `unknown task ${shown(name)}; supported: ${[...byName.keys()].join(', ')}`;
  throw new DomainError('invalid_value', message, 'graft.task');
}

/** Stacks that a base model of the task may have. */
export const stacksOf = ({ stacks = ['decoder'] }: Task): readonly StackKinds[] => stacks;

export const inputsOf = ({ inputs = 'tokens' }: Task): InputKind => inputs;

export const fits = (task: Task, { stacks, inputs }: ModelKind): boolean =>
  inputsOf(task) === inputs && stacksOf(task).includes(stacks);

/**
 * Returns the task of a job that names none: the first task with the given OpenAI method that fits the
 * base model, if the base model is known.
 */
export function taskOf(method: FineTuningMethod, base?: ModelKind): Task {
  const ofMethod = tasks.filter((one) => one.method === method);
  const task = ofMethod.find((one) => base === undefined || fits(one, base)) ?? ofMethod[0];
  if (task) return task;
  throw new DomainError('unsupported', `method ${method} is not supported`, 'method.type');
}

const STACKS: Readonly<Record<StackKinds, string>> = {
  decoder: 'a decoder-only model',
  encoder: 'an encoder-only model',
  encoder_decoder: 'an encoder-decoder model',
};

const INPUTS: Readonly<Record<InputKind, string>> = {
  tokens: 'text',
  image: 'images',
  audio: 'audio',
};

/**
 * Rejects a base model of a kind that the task does not train.
 * @throws DomainError with param `graft.task`
 */
export function checkBase(task: Task, base: ModelKind, modelType: string): void {
  if (fits(task, base)) return;
  const others = tasks.filter((one) => fits(one, base)).map(({ name }) => name);
  const advice = others.length > 0 ? `; use ${others.join(' or ')}` : '';
  const inputs = inputsOf(task);
  const [wants, has] =
    inputs === base.inputs
      ? [`requires ${stacksOf(task).map((stacks) => STACKS[stacks]).join(' or ')}`, `is ${STACKS[base.stacks]}`] // prettier-ignore
      : [`trains on ${INPUTS[inputs]}`, `reads ${INPUTS[base.inputs]}`];
  const message = `task ${task.name} ${wants}, but a base of model_type ${modelType} ${has}${advice}`;
  throw new DomainError('invalid_value', message, 'graft.task');
}
