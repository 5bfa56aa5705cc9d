/** Which tasks a method can be trained for: some ask more of one than a loss. */
import { DomainError } from '@graft/contracts';
import type { Asked, OwnHead, Task } from '../../tasks/task.js';
import type { Method } from '../method.js';
import { takesHead } from './own-head.js';

const LACKING: Readonly<Record<Asked, string>> = {
  learns_prompts: 'learns the tokens of its prompt',
  task_ids: 'requires task_ids in the records',
  learns_beside: 'has an auxiliary loss',
};

const gives = ({ asks }: Method, task: Pick<Task, 'gives'>): boolean =>
  asks === undefined || (task.gives ?? []).includes(asks);

/** Of a head that only some options ask for it says nothing. */
const hasHead = ({ head, options }: Task): boolean =>
  head !== undefined && head.outputs(options.parse({})) !== null;

export const takesTask = (method: Method, task: Task): boolean =>
  gives(method, task) && (!hasHead(task) || takesHead(method, (task.head as OwnHead).kind));

/** @throws DomainError for a task in which options would do nothing */
export function checkTaskOptions<O>(method: Method<O>, options: O, { name, peft }: Task): void {
  const { field, types } = method.taskTypes?.(options) ?? { field: '', types: null };
  if (!types || (peft.taskType !== null && types.includes(peft.taskType))) return;
  const message = `${field} requires a task of type ${types.join(' or ')}, as in PEFT; task ${name} has type ${peft.taskType ?? 'none'}; remove it`;
  throw new DomainError('unsupported', message, `peft.${field}`);
}

/** @throws DomainError for an option that a job sets and that would do nothing in it */
export function checkIdle<O>(method: Method<O>, options: O, task: Task): void {
  const idle = method.idle?.(options, task);
  if (!idle) return;
  const { field, where } = idle;
  const message = `${field} has no effect in ${where}, as in PEFT; remove it`;
  throw new DomainError('unsupported', message, `peft.${field}`);
}

/** @throws DomainError for a task that does not give what a method asks */
export function checkTask(method: Method, task: Task, tasks: readonly Task[]): void {
  if (gives(method, task)) return;
  const others = tasks.filter((one) => gives(method, one)).map(({ name }) => name);
  const what = LACKING[method.asks as Asked];
  const message = `${method.name} ${what}, which task ${task.name} does not support; use task ${others.join(' or ')}, or another method`;
  throw new DomainError('unsupported', message, 'peft.peft_type');
}
