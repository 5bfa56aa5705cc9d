import { DomainError, type FineTuningMethod } from '@graft/contracts';
import { shown } from '../data/json-scan.js';
import type { StackKinds } from '../nn/stack-options.js';
import { registry } from '../plugin.js';
import { causalLm } from './causal-lm.js';
import { cpo } from './cpo.js';
import { dpo } from './dpo.js';
import { featureExtraction } from './feature-extraction.js';
import { questionAns } from './question-ans.js';
import { kto } from './kto.js';
import { orpo } from './orpo.js';
import { seq2SeqLm } from './seq-2-seq-lm.js';
import { seqCls } from './seq-cls.js';
import { tokenCls } from './token-cls.js';
import type { Task } from './task.js';

/** Every task there is. The catalog, validation and the docs are derived from this list. */
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
];

const byName = registry('task', tasks, ({ name }) => [name]);

/** @throws DomainError with param `graft.task` */
export function taskFor(name: string): Task {
  const task = byName.get(name);
  if (task) return task;
  const message = `unknown task ${shown(name)}; supported: ${[...byName.keys()].join(', ')}`;
  throw new DomainError('invalid_value', message, 'graft.task');
}

/** What a base may be made of. */
export const stacksOf = ({ stacks = ['decoder'] }: Task): readonly StackKinds[] => stacks;

const fits = (task: Task, base: StackKinds): boolean => stacksOf(task).includes(base);

/** What a job learns that names no task: the first task of OpenAI's method that fits the base, where it is known. */
export function taskOf(method: FineTuningMethod, base?: StackKinds): Task {
  const ofMethod = tasks.filter((one) => one.method === method);
  const task = ofMethod.find((one) => base === undefined || fits(one, base)) ?? ofMethod[0];
  if (task) return task;
  throw new DomainError('unsupported', `method ${method} is not supported`, 'method.type');
}

const STACKS: Readonly<Record<StackKinds, string>> = {
  decoder: 'a decoder alone',
  encoder: 'an encoder alone',
  encoder_decoder: 'an encoder and a decoder',
};

/** @throws DomainError with param `graft.task` where a base's stacks are not those that a task trains */
export function checkStacks(task: Task, base: StackKinds, modelType: string): void {
  if (fits(task, base)) return;
  const others = tasks.filter((one) => fits(one, base)).map(({ name }) => name);
  const advice = others.length > 0 ? `; use ${others.join(' or ')}` : '';
  const trained = stacksOf(task).map((stacks) => STACKS[stacks]);
  const message = `task ${task.name} trains ${trained.join(' or ')}, and a base of model_type ${modelType} has ${STACKS[base]}${advice}`;
  throw new DomainError('invalid_value', message, 'graft.task');
}
