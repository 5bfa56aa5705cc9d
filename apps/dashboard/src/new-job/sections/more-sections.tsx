import type { Catalog, CatalogTask, FileObject, JobPreviewObject } from '@graft/contracts';
import { Answer, useOpen } from '../../forms/answer.js';
import { problemAt } from '../../forms/field-problem.js';
import { labelOf } from '../../forms/labels.js';
import { fieldsOf, type Field as SchemaFieldType } from '../../forms/schema-fields.js';
import { problemIn, SchemaForm } from '../../forms/schema-form.js';
import { Fold } from '../../ui/fold.js';
import { NumberField } from '../../ui/controls/number-field.js';
import type { FormState } from '../form-state.js';
import type { Draft } from '../job-draft.js';
import { JobTrackers } from '../job-trackers.js';
import { SamplePrompts } from '../sample-prompts.js';

/** Name of the job, which becomes a part of its model's name. */
export function NameSection({ draft, change, problems }: FormState) {
  const problem = problemAt(problems, 'suffix');
  return (
    <Answer
      title="Name"
      more={null}
      isOpen={problem !== null}
      setOpen={() => undefined}
      line={
        <input
          id="suffix"
          className="name-input"
          aria-label="Name"
          aria-invalid={problem !== null}
          aria-describedby={problem ? 'suffix-problem' : undefined}
          value={draft.suffix}
          placeholder="Automatic: file, method and a number"
          onChange={(event) => change({ suffix: event.target.value })}
        />
      }
    >
      <small id="suffix-problem" className="bad">
        {problem}
      </small>
    </Answer>
  );
}

/** Options of `graft` that have their own fields elsewhere in the form. */
const ELSEWHERE = [
  'learning_rate',
  'task',
  'task_options',
  'validation_split',
  'stratify_by_column',
  'sample_prompts',
];

/** Options of `graft` in groups, each with its title. The rest is under "Advanced". */
const GROUPS: readonly (readonly [title: string, names: readonly string[]])[] = [
  ['Where and when', ['pool', 'priority']],
  [
    'Measuring',
    [
      'eval_steps',
      'early_stopping_patience',
      'load_best_model_at_end',
      'metric_for_best_model',
      'eval',
      'measure_forgetting',
      'loss_ledger',
      'loss_ledger_epochs',
      'sample_max_tokens',
    ],
  ],
  [
    'Memory and speed',
    [
      'quantization',
      'gradient_checkpointing',
      'gradient_accumulation_steps',
      'max_seq_len',
      'base_dtype',
      'save_steps',
    ],
  ],
];

/** Returns the fields of `graft`. The pool is a choice of those that the project may use, plus the requested one. */
export function optionFields(
  catalog: Catalog,
  pools: readonly string[],
  requested?: string,
): readonly SchemaFieldType[] {
  const fields = fieldsOf(catalog.graft_schema).filter(({ name }) => !ELSEWHERE.includes(name));
  const choices = [...new Set([...pools, ...(requested ? [requested] : [])])];
  return fields.map((field) =>
    field.name === 'pool' && pools.length > 0
      ? { ...field, kind: 'choice', choices, areNames: true }
      : field,
  );
}

interface MoreProps extends FormState {
  readonly fields: readonly SchemaFieldType[];
  readonly task: CatalogTask;
  readonly file: FileObject | undefined;
  readonly plan: JobPreviewObject | null;
  readonly offered: Draft['integrations'];
}

/** Options that most jobs leave at their defaults. */
export function MoreSection({ fields, task, file, plan, offered, ...state }: MoreProps) {
  const { draft, change, problems } = state;
  const isWrong =
    problemIn(problems, 'graft', fields) ||
    ['graft.sample_prompts', 'integrations', 'seed'].some((id) => problemAt(problems, id) !== null);
  const [isOpen, setOpen] = useOpen(isWrong || Boolean(offered?.length));
  const set = [
    ...fields
      .filter(({ name }) => (draft.graft[name] ?? '') !== '')
      .map(({ name }) => labelOf(name)),
    ...(draft.graft['sample_prompts'] ? ['Sample prompts'] : []),
    ...(draft.seed ? ['Seed'] : []),
  ];
  const grouped = GROUPS.map(
    ([title, names]) =>
      [title, names.flatMap((name) => fields.find((one) => one.name === name) ?? [])] as const,
  );
  const rest = fields.filter((one) => !grouped.some(([, some]) => some.includes(one)));
  const form = {
    prefix: 'graft',
    values: draft.graft,
    problems,
    automatic: plan?.graft ?? {},
    change: (name: string, value: string) =>
      change((now) => ({ graft: { ...now.graft, [name]: value } })),
  };
  return (
    <Answer
      title="Options"
      line={
        <span>
          {set.length > 0
            ? `Changed: ${set.join(', ')}`
            : 'Pool, evaluation, memory, sample prompts, seed'}
        </span>
      }
      more="More options"
      isOpen={isOpen}
      setOpen={setOpen}
    >
      <SamplePrompts {...state} task={task} file={file} />
      <JobTrackers {...state} offered={offered} />
      {grouped.map(([title, some]) => (
        <div key={title} role="group" aria-label={title}>
          <h3>{title}</h3>
          <SchemaForm {...form} fields={some} />
        </div>
      ))}
      <Fold
        title="Advanced"
        reason={problemIn(problems, 'graft', rest) || problemAt(problems, 'seed') !== null}
      >
        <div className="fields">
          <NumberField
            id="seed"
            label="Seed"
            value={draft.seed}
            automatic="42"
            problem={problemAt(problems, 'seed')}
            help="Same seed, same result"
            info={{ path: 'seed', text: 'Decides data order, dropout and new weights.' }}
            change={(seed) => change({ seed })}
          />
        </div>
        <SchemaForm {...form} fields={rest} />
      </Fold>
    </Answer>
  );
}
