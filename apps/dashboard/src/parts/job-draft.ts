// The new-job form's contents: what was typed, made from a job, and made into the create call's body.
import type { Catalog, CatalogMethod, JobObject } from '@graft/contracts';
import { collect, fieldsOf } from './schema-form.js';

type Values = Readonly<Record<string, string>>;

export interface Draft {
  readonly model: string;
  readonly training_file: string;
  readonly validation_file: string;
  readonly suffix: string;
  readonly seed: string;
  readonly n_epochs: string;
  readonly batch_size: string;
  readonly method: string;
  readonly peft: Values;
  readonly graft: Values;
}

export const BLANK: Draft = {
  model: '',
  training_file: '',
  validation_file: '',
  suffix: '',
  seed: '',
  n_epochs: '',
  batch_size: '',
  method: 'LORA',
  peft: {},
  graft: {},
};

const typed = (values: Readonly<Record<string, unknown>>): Values =>
  Object.fromEntries(
    Object.entries(values)
      .filter(([, v]) => v !== null && v !== undefined)
      .map(([k, v]) => [k, typeof v === 'string' ? v : JSON.stringify(v)]),
  );

/** The form as the job was made; only options the catalog knows are taken over. */
export function draftOf(job: JobObject, catalog: Catalog): Draft {
  const known = fieldsOf(catalog.graft_schema).map((field) => field.name);
  const graft = Object.fromEntries(
    Object.entries(job.graft).filter(([name]) => known.includes(name)),
  );
  const { peft_type: type, ...peft } = job.peft ?? { peft_type: 'FULL' };
  const shown = (v: number | 'auto') => (v === 'auto' ? '' : String(v));
  return {
    model: job.model,
    training_file: job.training_file,
    validation_file: job.validation_file ?? '',
    suffix: job.user_provided_suffix ?? '',
    seed: String(job.seed),
    n_epochs: shown(job.hyperparameters.n_epochs),
    batch_size: shown(job.hyperparameters.batch_size),
    method: String(type),
    peft: typed(peft),
    graft: typed(graft),
  };
}

/** What is not a number goes to the server as it is: its answer names the field. */
const number = (typed: string): number | string =>
  Number.isNaN(Number(typed)) ? typed : Number(typed);

/** The body of the create call; fields left alone are left out, so that the server's defaults hold. */
export function bodyOf(
  draft: Draft,
  method: CatalogMethod,
  catalog: Catalog,
): Record<string, unknown> {
  const hyperparameters = {
    ...(draft.n_epochs && { n_epochs: number(draft.n_epochs) }),
    ...(draft.batch_size && { batch_size: number(draft.batch_size) }),
  };
  const peft = { peft_type: method.peft_type, ...collect(fieldsOf(method.schema), draft.peft) };
  return {
    model: draft.model,
    training_file: draft.training_file,
    ...(draft.validation_file && { validation_file: draft.validation_file }),
    ...(draft.suffix && { suffix: draft.suffix }),
    ...(draft.seed && { seed: number(draft.seed) }),
    method: { type: 'supervised', supervised: { hyperparameters } },
    peft: method.peft_type === 'FULL' ? null : peft,
    graft: collect(fieldsOf(catalog.graft_schema), draft.graft),
  };
}
