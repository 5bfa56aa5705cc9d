/** Checks of the tasks that a method supports. Some methods require more of a task than a loss. */
import { DomainError } from '@graft/contracts';
import type { TaskFeature, OwnHead, Task } from '../../tasks/task.js';
import type { Method } from '../method.js';
import { takesHead } from './own-head.js';

const REQUIREMENTS: Readonly<Record<TaskFeature, string>> = {
  learns_prompts: 'learns the tokens of its prompt',
  task_ids: 'requires task_ids in the records',
  learns_beside: 'has an auxiliary loss',
};

const gives = ({ requires }: Method, task: Pick<Task, 'gives'>): boolean =>
  requires === undefined || (task.gives ?? []).includes(requires);

/** Whether a task has a head by default. Heads that only some options add are not counted. */
const hasHead = ({ head, options }: Task): boolean =>
  head !== undefined && head.outputs(options.parse({})) !== null;

export const takesTask = (method: Method, task: Task): boolean =>
  gives(method, task) && (!hasHead(task) || takesHead(method, (task.head as OwnHead).kind));

/** Rejects options without effect in a task. @throws DomainError */
export function checkTaskOptions<O>(method: Method<O>, options: O, { name, peft }: Task): void {
  const { field, types } = method.taskTypes?.(options) ?? { field: '', types: null };
  if (!types || (peft.taskType !== null && types.includes(peft.taskType))) return;
  const message = `${field} requires a task of type ${types.join(' or ')}, as in PEFT; task ${name} has type ${peft.taskType ?? 'none'}; remove it`;
  throw new DomainError('unsupported', message, `peft.${field}`);
}

/** Rejects an option that a job sets and that has no effect in its task. @throws DomainError */
export function checkIdle<O>(method: Method<O>, options: O, task: Task): void {
  const idle = method.idle?.(options, task);
  if (!idle) return;
  const { field, where } = idle;
  const message = `${field} has no effect in ${where}, as in PEFT; remove it`;
  throw new DomainError('unsupported', message, `peft.${field}`);
}

/** Rejects a task without a feature that the method requires. @throws DomainError */
export function checkTask(method: Method, task: Task, tasks: readonly Task[]): void {
  if (gives(method, task)) return;
  const others = tasks.filter((one) => gives(method, one)).map(({ name }) => name);
  const what = REQUIREMENTS[method.requires as TaskFeature];
  const message = `${method.name} ${what}, which task ${task.name} does not support; use task ${others.join(' or ')}, or another method`;
  throw new DomainError('unsupported', message, 'peft.peft_type');
}
