import type { Spec } from '@graft/contracts';
import type { HeadRequest } from '../nn/outline.js';
import { taskFor } from './registry.js';

/** The head that a job's task wants of its base; null where it has none of its own. */
export function headOf({
  task,
  task_options: options,
}: Pick<Spec, 'task' | 'task_options'>): HeadRequest | null {
  const { head } = taskFor(task);
  return head ? { kind: head.kind, outputs: head.outputs(options) } : null;
}
