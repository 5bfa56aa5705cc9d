import type { Catalog, CatalogTask } from '@graft/contracts';
import { useMemo } from 'react';
import { Answer, useOpen } from '../../forms/answer.js';
import { problemAt } from '../../forms/field-problem.js';
import { fieldsOf } from '../../forms/schema-fields.js';
import { SchemaForm } from '../../forms/schema-form.js';
import { Fold } from '../../ui/fold.js';
import { RadioCards } from '../../ui/controls/radio-cards.js';
import type { FormState } from '../form-state.js';
import { misfitOf, type Misfit, type TaskSubject } from '../job-draft.js';

interface Props extends FormState {
  readonly catalog: Catalog;
  readonly chosen: CatalogTask;
  readonly subject: TaskSubject;
  readonly automatic: Readonly<Record<string, unknown>>;
}

/** The task that fits the file, and its options. */
export function GoalSection(props: Props) {
  const { catalog, chosen, subject, draft, change, problems, automatic } = props;
  const fields = useMemo(() => fieldsOf(chosen.schema), [chosen]);
  const tasks = catalog.tasks.map((task) => ({ task, misfit: misfitOf(task, subject, catalog) }));
  // The selected task stays visible, even if the file or base model no longer fits.
  const offered = tasks.filter(({ task, misfit }) => misfit === null || task === chosen);
  const misfit = tasks.find(({ task }) => task === chosen)?.misfit ?? null;
  const problem = problemAt(problems, 'graft.task');
  const options = fields.filter(({ name }) => problemAt(problems, `graft.task_options.${name}`));
  const [isOpen, setOpen] = useOpen(problem !== null || options.length > 0);
  return (
    <Answer
      title="Goal"
      line={
        <>
          <b>{chosen.title}</b>
          {misfit ? (
            <span className="bad">Does not fit: {misfit.reason}</span>
          ) : (
            <span>{subject.file && draft.task === '' ? 'chosen from your data' : ''}</span>
          )}
        </>
      }
      more="Change"
      isOpen={isOpen}
      setOpen={setOpen}
    >
      <RadioCards
        label="Task"
        value={chosen.name}
        cards={offered.map(({ task, misfit: why }) => ({
          value: task.name,
          title: task.title,
          text: why ? `Does not fit: ${why.reason}` : task.summary,
        }))}
        change={(task) => change({ task, task_options: {} })}
      />
      <Rest tasks={tasks.filter((one) => !offered.includes(one))} />
      {problem !== null && (
        <p id="graft.task" tabIndex={-1} className="bad">
          {problem}
        </p>
      )}
      {fields.length > 0 && (
        <SchemaForm
          prefix="graft.task_options"
          fields={fields}
          values={draft.task_options}
          problems={problems}
          automatic={automatic}
          change={(name, value) =>
            change((now) => ({ task_options: { ...now.task_options, [name]: value } }))
          }
        />
      )}
    </Answer>
  );
}

interface RestProps {
  readonly tasks: readonly { readonly task: CatalogTask; readonly misfit: Misfit | null }[];
}

/** Tasks that cannot be selected, with reasons. */
function Rest({ tasks }: RestProps) {
  if (tasks.length === 0) return null;
  const what = ['file', 'base'].filter((part) => tasks.some(({ misfit }) => misfit?.of === part));
  const names = what.map((part) => (part === 'base' ? 'base model' : part)).join(' or ');
  const doNotFit = tasks.length === 1 ? 'does not fit' : 'do not fit';
  return (
    <Fold title={`${tasks.length} more ${doNotFit} this ${names}`} reason={null}>
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
