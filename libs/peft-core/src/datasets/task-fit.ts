// Which tasks the records of a file fit, told in one pass. A task falls out at its first record that it cannot learn
// from, as long as another stands; the last to stand goes on, and says what is wrong with each further one.
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

  /** What is worth counting of a record, or why no task can learn from it. @param number for people @param bytes of its line */
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

  /** The task that the file is counted as: of those that stand, the first there is. */
  get lead(): Task {
    return this.standing[0] as Task;
  }

  /** @param noun what the numbers count */
  result(noun: string): FileTask[] {
    return tasks.map((task) => {
      const fall = this.falls.get(task);
      const problem = fall ? `${noun} ${fall.number}: ${fall.reason}` : null;
      return { task: task.name, fits: fall === undefined, problem };
    });
  }
}

/** The task whose formats a record is most like, by the keys that it has. */
export function likest(record: JsonObject, among: readonly Task[] = tasks): Task {
  const keys = ({ records }: Task): number =>
    Math.max(
      ...records.map((format) => format.keys.filter((key) => Object.hasOwn(record, key)).length),
    );
  return among.reduce((best, task) => (keys(task) > keys(best) ? task : best));
}
