// Determines in one pass which tasks the records of a file fit. A task is dropped at its first unusable record, as long
// as another task is left. The last task stays and reports the problem of each further record.
import type { FileTask } from '@graft/contracts';
import { taskProblem } from './records.js';
import { type JsonObject } from '../data/json-line.js';
import { tasks } from '../tasks/registry.js';
import type { RecordFacts, Task } from '../tasks/task.js';

interface Fall {
  readonly number: number;
  readonly reason: string;
}

export class TaskFit {
  private standing: readonly Task[] = tasks;
  private readonly falls = new Map<Task, Fall>();

  /**
   * Returns the facts of a record, or why no task can use it.
   * @param number line number for messages @param bytes size of its line
   */
  take(record: JsonObject, number: number, bytes = 0): RecordFacts | string {
    const problem = (task: Task): string | null => taskProblem(task, record, bytes);
    const reasons = this.standing.map((task) => [task, problem(task)] as const);
    const fine = reasons.filter(([, reason]) => reason === null).map(([task]) => task);
    if (fine.length > 0 && fine.length === this.standing.length) return this.lead.facts(record);
    for (const [task, reason] of reasons)
      if (reason !== null && !this.falls.has(task)) this.falls.set(task, { number, reason });
    this.standing = fine.length > 0 ? fine : [likest(record, this.standing)];
    return fine.length > 0 ? this.lead.facts(record) : (problem(this.lead) ?? '');
  }

  /** Task that the file is counted as: the first one that still fits. */
  get lead(): Task {
    return this.standing[0] as Task;
  }

  /** Returns the tasks that the file fits. @param noun unit of the line numbers */
  result(noun: string): FileTask[] {
    return tasks.map((task) => {
      const fall = this.falls.get(task);
      const problem = fall ? `${noun} ${fall.number}: ${fall.reason}` : null;
      return { task: task.name, fits: fall === undefined, problem };
    });
  }
}

/** Returns the task whose formats share the most keys with a record. */
export function likest(record: JsonObject, among: readonly Task[] = tasks): Task {
  const keys = ({ records }: Task): number =>
    Math.max(
      ...records.map((format) => format.keys.filter((key) => Object.hasOwn(record, key)).length),
    );
  return among.reduce((best, task) => (keys(task) > keys(best) ? task : best));
}
