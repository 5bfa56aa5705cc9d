import type { JobPreviewObject } from '@graft/contracts';
import { roughly } from '@graft/contracts/plan-line';
import { useState } from 'react';
import { Answer, useOpen } from '../../forms/answer.js';
import { problemAt } from '../../forms/field-problem.js';
import { count } from '../../format.js';
import { NumberField } from '../../ui/controls/number-field.js';
import { RadioCards } from '../../ui/controls/radio-cards.js';
import type { FormState } from '../form-state.js';
import { isAs, meaningOf, PRESETS, withPreset, type PresetFields } from '../presets.js';
import type { Preview } from '../use-preview.js';

interface Props extends FormState {
  readonly preview: Preview;
  /** Plan with the automatic length, to which the presets refer. */
  readonly standard: JobPreviewObject | null;
  readonly defaultRate: number;
  /** Share that is held out if the field is empty; null if none is. */
  readonly heldOut: number | null;
}

/** Fields behind "Tune", by their path. */
export const LENGTH_FIELDS = [
  'n_epochs',
  'batch_size',
  'graft.learning_rate',
  'graft.validation_split',
];

/** Length of the training: three presets, and the numbers that they stand for. */
export function LengthSection({ draft, change, problems, preview, standard, ...rest }: Props) {
  const [set, setSet] = useState<{ readonly name: string; readonly fields: PresetFields }>({
    name: 'Standard',
    fields: {},
  });
  const chosen = presetOf(draft, standard, set);
  const isWrong = LENGTH_FIELDS.some((path) => problemAt(problems, path) !== null);
  const [isOpen, setOpen] = useOpen(isWrong);
  const { plan } = preview;
  return (
    <Answer
      title="Length"
      line={
        plan ? (
          <>
            <b>{chosen ?? 'Custom'}</b>
            <span>{lengthText(plan)}</span>
          </>
        ) : (
          <b>{chosen ?? 'Custom'}</b>
        )
      }
      more="Tune"
      isOpen={isOpen}
      setOpen={setOpen}
      pinned={
        <RadioCards
          label="Training length"
          value={chosen}
          cards={PRESETS.map((preset) => ({
            value: preset.name,
            title: preset.name,
            text: meaningOf(preset, standard) ?? preset.means,
            disabled: standard === null && preset.name !== chosen,
          }))}
          change={(name) => {
            const preset = PRESETS.find((one) => one.name === name);
            if (!preset || !standard) return;
            const fields = preset.fields(standard);
            setSet({ name, fields });
            change((now) => withPreset(now, fields));
          }}
        />
      }
    >
      <Numbers {...{ draft, change, problems, plan, ...rest }} />
    </Answer>
  );
}

/** Returns the preset whose values the form has. */
function presetOf(
  draft: FormState['draft'],
  standard: JobPreviewObject | null,
  set: { readonly name: string; readonly fields: PresetFields },
): string | null {
  if (isAs(draft, set.fields)) return set.name;
  if (isAs(draft, {})) return 'Standard';
  return standard && (PRESETS.find(({ fields }) => isAs(draft, fields(standard)))?.name ?? null);
}

/** Returns "3 epochs · 102 steps · about 80 s". */
function lengthText({
  hyperparameters: { n_epochs: epochs },
  graft,
  steps,
  seconds,
}: JobPreviewObject): string {
  return [
    graft.max_steps ? null : `${count(epochs)} ${epochs === 1 ? 'epoch' : 'epochs'}`,
    `${count(steps)} ${steps === 1 ? 'step' : 'steps'}`,
    seconds === null ? null : `about ${roughly(seconds)}`,
  ]
    .filter(Boolean)
    .join(' · ');
}

interface NumbersProps extends FormState {
  readonly plan: JobPreviewObject | null;
  readonly defaultRate: number;
  readonly heldOut: number | null;
}

function Numbers({ draft, change, problems, plan, defaultRate, heldOut }: NumbersProps) {
  const number = (name: 'n_epochs' | 'batch_size') => ({
    id: name,
    value: draft[name],
    problem: problemAt(problems, name),
    automatic: plan ? String(plan.hyperparameters[name]) : null,
    info: { path: `method.supervised.hyperparameters.${name}` },
    change: (value: string) => change({ [name]: value }),
  });
  const option = (name: 'learning_rate' | 'validation_split') => ({
    id: `graft.${name}`,
    value: draft.graft[name] ?? '',
    problem: problemAt(problems, `graft.${name}`),
    change: (value: string) => change(({ graft }) => ({ graft: { ...graft, [name]: value } })),
  });
  return (
    <div className="fields">
      <NumberField {...number('n_epochs')} label="Epochs" help="Passes over the data, 1 to 50" />
      <NumberField {...number('batch_size')} label="Batch size" help="Examples per step" />
      <NumberField
        {...option('learning_rate')}
        label="Learning rate"
        automatic={String(defaultRate)}
        help="Peak of the schedule, such as 2e-4"
        info={{
          path: 'graft.learning_rate',
          text: 'Peak learning rate. The default depends on the method and the task.',
        }}
      />
      <NumberField
        {...option('validation_split')}
        label="Validation share"
        automatic={heldOut === null ? 'none' : String(heldOut)}
        help="Part of the data to hold out, or “none”"
        info={{
          path: 'graft.validation_split',
          text: 'Fraction of the training file that is measured and never trained on, such as 0.2. Identical records stay together.',
        }}
      />
    </div>
  );
}
