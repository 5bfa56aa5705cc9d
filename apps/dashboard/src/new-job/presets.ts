// Ways to train that a newcomer can choose among. Each fills in fields of the form, where they are seen and changed.
import type { JobPreviewObject } from '@graft/contracts';
import { HELD_OUT } from '@graft/contracts/validation';
import type { Draft } from './job-draft.js';
import { NONE } from '../forms/schema-form.js';

/** The most that the API takes. */
const MOST_PASSES = 50;
/** So many evaluations in a run that looks for its best step. */
const EVALUATIONS = 20;

/** The fields that a preset sets; one that it leaves out is as the server has it. */
export interface PresetFields {
  readonly n_epochs?: number;
  readonly max_steps?: number;
  readonly eval_steps?: number;
  readonly early_stopping_patience?: number;
  readonly validation_split?: number;
}

export interface Preset {
  readonly name: string;
  readonly means: string;
  readonly fields: (plan: JobPreviewObject) => PresetFields;
}

export const PRESETS: readonly Preset[] = [
  {
    name: 'Balanced',
    means: 'Epochs, batch size and learning rate chosen for your data',
    fields: () => ({}),
  },
  {
    name: 'Quick look',
    means: '20 steps, to check that data and base model work together',
    fields: () => ({ max_steps: 20 }),
  },
  {
    name: 'Thorough',
    means: 'Twice as long, holds out 10 %, stops when validation loss stops improving',
    fields: ({
      hyperparameters: { n_epochs: passes, batch_size: batch },
      training: { examples },
    }) => {
      const twice = Math.min(MOST_PASSES, 2 * passes);
      const steps = (twice * (1 - HELD_OUT) * examples) / batch;
      return {
        n_epochs: twice,
        validation_split: HELD_OUT,
        eval_steps: Math.max(1, Math.round(steps / EVALUATIONS)),
        early_stopping_patience: 3,
      };
    },
  },
];

const typed = (value: number | undefined): string => (value === undefined ? '' : String(value));

/** What becomes of the form; where a validation file is chosen, nothing is held out besides. */
export function withPreset(draft: Draft, fields: PresetFields): Partial<Draft> {
  const { n_epochs: passes, validation_split: split, ...rest } = fields;
  const isRefused = draft.graft['validation_split'] === NONE;
  return {
    n_epochs: typed(passes),
    batch_size: '',
    graft: {
      ...draft.graft,
      learning_rate: '',
      max_steps: typed(rest.max_steps),
      eval_steps: typed(rest.eval_steps),
      early_stopping_patience: typed(rest.early_stopping_patience),
      validation_split:
        isRefused && split === undefined ? NONE : draft.validation_file === '' ? typed(split) : '',
    },
  };
}

/** Whether the form is as a preset left it. */
export function isAs(draft: Draft, fields: PresetFields): boolean {
  const { graft = {}, ...rest } = withPreset(draft, fields);
  return (
    rest.n_epochs === draft.n_epochs &&
    rest.batch_size === draft.batch_size &&
    Object.entries(graft).every(([name, value]) => (draft.graft[name] ?? '') === value)
  );
}
