// Problems that can be found without the API.
import type { Catalog, CatalogTask } from '@graft/contracts';
import type { Problem } from '../forms/field-problem.js';
import { labelOf } from '../forms/labels.js';
import { fieldsOf, NONE, numberProblem, type Field, type Limits } from '../forms/schema-fields.js';
import type { Draft } from './job-draft.js';
import type { Configuration } from './method-list.js';

/** OpenAI's limits for fields without a schema in the catalog. */
export const LIMITS = {
  n_epochs: { minimum: 1, maximum: 50 },
  batch_size: { minimum: 1, maximum: 256 },
  seed: { minimum: 0, maximum: 2_147_483_647 },
} as const satisfies Readonly<Record<string, Limits>>;

/** Longest name. */
const NAME_LENGTH = 64;

interface Chosen {
  readonly method: Configuration;
  readonly task: CatalogTask;
}

/** Returns the problems of typed numbers, in the order of the form. */
export function typedProblems(
  draft: Draft,
  { method, task }: Chosen,
  catalog: Catalog,
): readonly Problem[] {
  const within = (
    prefix: string,
    fields: readonly Field[],
    values: Readonly<Record<string, string>>,
  ) =>
    fields.flatMap((field) => {
      const text = numberProblem(field, values[field.name] ?? '');
      const path = `${prefix}.${field.name}`;
      return text === null ? [] : [{ path, label: labelOf(path), text }];
    });
  const numbers = Object.entries(LIMITS).flatMap(([name, limits]) => {
    const typed = draft[name as keyof typeof LIMITS];
    const text = numberProblem({ kind: 'integer', limits, nullable: false }, typed);
    return text === null ? [] : [{ path: name, label: labelOf(name), text }];
  });
  const graft = fieldsOf(catalog.graft_schema).filter(
    ({ name }) => !(name === 'validation_split' && draft.graft[name] === NONE),
  );
  return [
    ...within('graft.task_options', fieldsOf(task.schema), draft.task_options),
    ...within('peft', fieldsOf(method.method.schema), draft.peft),
    ...numbers,
    ...(draft.suffix.length > NAME_LENGTH
      ? [{ path: 'suffix', label: 'Name', text: `at most ${NAME_LENGTH} characters` }]
      : []),
    ...within('graft', graft, draft.graft),
  ];
}

/** Returns what is missing before the job can be sent. */
export function missingProblems(draft: Draft, hasBase: boolean): readonly Problem[] {
  return [
    ...(draft.training_file === ''
      ? [{ path: 'training_file', label: 'Data', text: 'choose a training file' }]
      : []),
    ...(hasBase ? [] : [{ path: 'model', label: 'Model', text: 'import a base model first' }]),
  ];
}
