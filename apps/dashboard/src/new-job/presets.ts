// Training presets for newcomers. Each fills in fields of the form, where they can be changed.
import type { JobPreviewObject } from '@graft/contracts';
import { roughly } from '@graft/contracts/plan-line';
import { HELD_OUT } from '@graft/contracts/validation';
import { count } from '../format.js';
import type { Draft } from './job-draft.js';
import { NONE } from '../forms/schema-fields.js';

/** Maximum number of epochs that the API accepts. */
const MOST_PASSES = 50;
/** Number of evaluations of a run that searches for its best step. */
const EVALUATIONS = 20;

/** Steps of a quick look. */
const QUICK_STEPS = 20;

/** Fields that a preset sets. Missing ones get the server's default. */
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
    name: 'Quick look',
    means: 'To check that it works',
    fields: () => ({ max_steps: QUICK_STEPS }),
  },
  {
    name: 'Standard',
    means: 'Chosen for your data',
    fields: () => ({}),
  },
  {
    name: 'Thorough',
    means: 'Until it stops improving',
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

/** Returns the steps and the time of a preset: "20 steps · about 15 s". Null without a plan. */
export function meaningOf({ fields }: Preset, standard: JobPreviewObject | null): string | null {
  if (standard === null) return null;
  const { n_epochs: epochs, max_steps: most, early_stopping_patience: patience } = fields(standard);
  const factor = (epochs ?? standard.hyperparameters.n_epochs) / standard.hyperparameters.n_epochs;
  const steps = Math.min(most ?? Infinity, Math.round(standard.steps * factor));
  const { seconds } = standard;
  const time = seconds === null || standard.steps === 0 ? null : (seconds * steps) / standard.steps;
  const upTo = patience === undefined ? '' : 'up to ';
  return [
    `${upTo}${count(steps)} steps`,
    ...(time === null ? [] : [`about ${roughly(time)}`]),
  ].join(' · ');
}

const typed = (value: number | undefined): string => (value === undefined ? '' : String(value));

/** Returns the changes to the form. If a validation file is selected, nothing is held out. */
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

/** Whether the form matches a preset. */
export function isAs(draft: Draft, fields: PresetFields): boolean {
  const { graft = {}, ...rest } = withPreset(draft, fields);
  return (
    rest.n_epochs === draft.n_epochs &&
    rest.batch_size === draft.batch_size &&
    Object.entries(graft).every(([name, value]) => (draft.graft[name] ?? '') === value)
  );
}
