import type { Catalog, CatalogTask } from '@graft/contracts';
import { useMemo } from 'react';
import type { Change } from '../forms/change.js';
import { FieldProblem, isOf, type Refusal } from '../forms/field-problem.js';
import { Fold } from '../ui/fold.js';
import { misfitOf, type Draft, type Misfit, type TaskSubject } from './job-draft.js';
import { fieldsOf, SchemaForm } from '../forms/schema-form.js';

interface TaskChoiceProps {
  readonly catalog: Catalog;
  readonly chosen: CatalogTask;
  readonly subject: TaskSubject;
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly wrong: Refusal | null;
}

/** Tasks of the catalog, and the options of the selected task. */
export function TaskChoice({ catalog, chosen, subject, draft, change, wrong }: TaskChoiceProps) {
  const fields = useMemo(() => fieldsOf(chosen.schema), [chosen]);
  const options = draft.task_options;
  const tasks = catalog.tasks.map((task) => ({ task, misfit: misfitOf(task, subject, catalog) }));
  // The selected task stays visible, even if the file or base model no longer fits.
  const offered = tasks.filter(({ task, misfit }) => misfit === null || task === chosen);
  return (
    <>
      <div className="choices broad" role="radiogroup" aria-label="Task">
        {offered.map(({ task, misfit }) => (
          <label key={task.name} className={task === chosen ? 'choice chosen' : 'choice'}>
            <input
              type="radio"
              name="task"
              checked={task === chosen}
              onChange={() => change({ task: task.name, task_options: {} })}
            />
            <b>{task.title}</b>
            <small className={misfit ? 'bad' : undefined}>
              {misfit ? `Does not fit: ${misfit.reason}` : task.summary}
            </small>
          </label>
        ))}
      </div>
      <Rest tasks={tasks.filter((one) => !offered.includes(one))} />
      {isOf(wrong, 'graft.task') && <FieldProblem id="graft.task" wrong={wrong} />}
      {fields.length > 0 && (
        <div className="card">
          <SchemaForm
            prefix="graft.task_options"
            fields={fields}
            values={options}
            wrong={wrong}
            change={(name, value) =>
              change((now) => ({ task_options: { ...now.task_options, [name]: value } }))
            }
          />
        </div>
      )}
    </>
  );
}

interface RestProps {
  readonly tasks: readonly { readonly task: CatalogTask; readonly misfit: Misfit | null }[];
}

/** Tasks that cannot be selected, with reasons. */
function Rest({ tasks }: RestProps) {
  if (tasks.length === 0) return null;
  const what = ['file', 'base'].filter((part) => tasks.some(({ misfit }) => misfit?.of === part));
  const doNotFit = tasks.length === 1 ? 'does not fit' : 'do not fit';
  const title = `${tasks.length} more ${doNotFit} this ${what.join(' or ')}`;
  return (
    <Fold className="more" title={title} reason={null}>
      <ul className="misfits">
        {tasks.map(({ task, misfit }) => (
          <li key={task.name}>
            {task.title} <small>{misfit?.reason}</small>
          </li>
        ))}
      </ul>
    </Fold>
  );
}
