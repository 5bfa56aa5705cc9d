import type { Catalog, CatalogTask } from '@graft/contracts';
import { useMemo } from 'react';
import { FieldProblem, isOf, type Refusal } from './field-problem.js';
import { taskProblem, type Draft, type TaskSubject } from './job-draft.js';
import { fieldsOf, SchemaForm } from './schema-form.js';

interface TaskChoiceProps {
  readonly catalog: Catalog;
  readonly chosen: CatalogTask;
  readonly subject: TaskSubject;
  readonly draft: Draft;
  readonly change: (part: Partial<Draft>) => void;
  readonly wrong: Refusal | null;
}

/** What the model learns to do, of the tasks of the catalogue, and the chosen task's own options. */
export function TaskChoice({ catalog, chosen, subject, draft, change, wrong }: TaskChoiceProps) {
  const fields = useMemo(() => fieldsOf(chosen.schema), [chosen]);
  const options = draft.task_options;
  return (
    <>
      <div className="choices" role="radiogroup" aria-label="Task">
        {catalog.tasks.map((task) => {
          const problem = taskProblem(task, subject, catalog);
          return (
            <label key={task.name} className={task === chosen ? 'choice chosen' : 'choice'}>
              <input
                type="radio"
                name="task"
                checked={task === chosen}
                disabled={problem !== null && task !== chosen}
                onChange={() => change({ task: task.name, task_options: {} })}
              />
              <b>{task.title}</b>
              <small>{problem ?? task.summary}</small>
            </label>
          );
        })}
      </div>
      {isOf(wrong, 'graft.task') && <FieldProblem id="graft.task" wrong={wrong} />}
      {fields.length > 0 && (
        <div className="card">
          <SchemaForm
            prefix="graft.task_options"
            fields={fields}
            values={options}
            wrong={wrong}
            change={(name, value) => change({ task_options: { ...options, [name]: value } })}
          />
        </div>
      )}
    </>
  );
}
