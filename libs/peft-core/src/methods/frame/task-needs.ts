/** Which tasks a method can be trained for: some ask more of one than a loss. */
import { DomainError } from '@graft/contracts';
import type { Asked, OwnHead, Task } from '../../tasks/task.js';
import type { Method } from '../method.js';
import { takesHead } from './own-head.js';

const LACKING: Readonly<Record<Asked, string>> = {
  learns_prompts: 'learns tokens of its prompt',
  task_ids: 'goes by task_ids of records',
  learns_beside: 'learns from rows of its own beside',
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
  const message = `${field} is for tasks of type ${types.join(' or ')}, as in PEFT, and task ${name} is of ${peft.taskType ?? 'none'}; leave it out`;
  throw new DomainError('unsupported', message, `peft.${field}`);
}

/** @throws DomainError for an option that a job sets and that would do nothing in it */
export function checkIdle<O>(method: Method<O>, options: O, task: Task): void {
  const idle = method.idle?.(options, task);
  if (!idle) return;
  const { field, where } = idle;
  const message = `${field} has no part in ${where}, in PEFT neither; leave it out`;
  throw new DomainError('unsupported', message, `peft.${field}`);
}

/** @throws DomainError for a task that does not give what a method asks */
export function checkTask(method: Method, task: Task, tasks: readonly Task[]): void {
  if (gives(method, task)) return;
  const others = tasks.filter((one) => gives(method, one)).map(({ name }) => name);
  const what = LACKING[method.asks as Asked];
  const message = `${method.name} ${what}, which task ${task.name} does not take; use task ${others.join(' or ')}, or another method`;
  throw new DomainError('unsupported', message, 'peft.peft_type');
}
