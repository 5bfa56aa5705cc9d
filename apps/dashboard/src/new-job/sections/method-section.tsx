import type { CatalogTask, JobPreviewObject } from '@graft/contracts';
import { amount } from '@graft/contracts/plan-line';
import { useMemo } from 'react';
import { Answer, useOpen } from '../../forms/answer.js';
import { fieldsOf } from '../../forms/schema-fields.js';
import { problemIn, SchemaForm } from '../../forms/schema-form.js';
import { Combobox } from '../../ui/controls/combobox.js';
import { Field } from '../../ui/controls/field.js';
import { Fold } from '../../ui/fold.js';
import { RadioCards } from '../../ui/controls/radio-cards.js';
import type { FormState } from '../form-state.js';
import {
  exportsText,
  sizeText,
  suggestionOf,
  suggestionsFor,
  supports,
  withConfiguration,
  type Configuration,
} from '../method-list.js';

/** Number of options behind "Tune". A method's schema lists the most important first. */
const MAIN = 4;

interface Props extends FormState {
  readonly all: readonly Configuration[];
  readonly chosen: Configuration;
  readonly task: CatalogTask;
  readonly plan: JobPreviewObject | null;
}

/** The training method: three suggestions, a list of all, and the options of the selected one. */
export function MethodSection({ all, chosen, task, draft, change, problems, plan }: Props) {
  const suggestions = suggestionsFor(task, all);
  const suggestion = suggestionOf(draft, chosen, suggestions);
  const fields = useMemo(() => fieldsOf(chosen.method.schema), [chosen.method]);
  const [main, rest] = [fields.slice(0, MAIN), fields.slice(MAIN)];
  const restProblem = problemIn(problems, 'peft', rest);
  const [isOpen, setOpen] = useOpen(problemIn(problems, 'peft', fields));
  const choose = (name: string) => {
    const found = all.find((one) => one.name === name);
    if (found) change((now) => withConfiguration(now, found));
  };
  const form = {
    prefix: 'peft',
    values: draft.peft,
    problems,
    automatic: plan?.peft?.['peft_type'] === chosen.method.peft_type ? plan.peft : {},
    layers: plan?.linear_modules ?? [],
    change: (name: string, value: string) =>
      change((now) => ({ peft: { ...now.peft, [name]: value } })),
  };
  return (
    <Answer
      title="Method"
      line={
        <>
          <b>{chosen.title}</b>
          <span>{trainedText(chosen, task, plan)}</span>
        </>
      }
      more={fields.length > 0 ? 'Tune' : null}
      isOpen={isOpen}
      setOpen={setOpen}
      pinned={
        <>
          <RadioCards
            label="Method"
            value={suggestion?.name ?? null}
            cards={suggestions.map(({ name, title, badge, text }) => ({
              value: name,
              title,
              badge,
              text,
            }))}
            change={(name) => {
              const found = suggestions.find((one) => one.name === name);
              if (found) change((now) => withConfiguration(now, found.configuration, found.peft));
            }}
          />
          <div className="method-picker">
            <Combobox
              id="peft"
              label="All methods"
              value={suggestion ? '' : chosen.name}
              placeholder={allText(all)}
              options={all.map((one) => optionOf(one, task))}
              change={choose}
            />
          </div>
        </>
      }
    >
      <SchemaForm {...form} fields={main} />
      {rest.length > 0 && (
        <Fold key={chosen.method.peft_type} title="More options" reason={restProblem}>
          <SchemaForm {...form} fields={rest} />
        </Fold>
      )}
      {chosen.method.paper && (
        <Field id="paper" label={`Paper of ${chosen.method.title}`}>
          <a id="paper" href={chosen.method.paper} rel="noreferrer" target="_blank">
            {chosen.method.paper}
          </a>
        </Field>
      )}
    </Answer>
  );
}

/** Returns "45 methods, 14 variants of LoRA…": a variant is not a method of its own. */
function allText(all: readonly Configuration[]): string {
  const methods = new Set(all.map(({ method }) => method)).size;
  return `${methods} methods, ${all.length - methods} variants of LoRA…`;
}

/** Returns "4.9 M trainable parameters (3.6 %) · exports: PEFT, merged, GGUF". */
function trainedText(chosen: Configuration, task: CatalogTask, plan: Props['plan']): string {
  const { trainable_parameters: some = null, total_parameters: total = null } = plan ?? {};
  const part = some !== null && total !== null ? ` (${share(some / total)})` : '';
  const trained = some === null ? sizeText(chosen) : `${amount(some)} trainable parameters${part}`;
  return [trained, exportsText(chosen, task)].filter(Boolean).join(' · ');
}

const share = (part: number): string => (part > 0.999 ? 'all' : `${(100 * part).toPrecision(2)} %`);

function optionOf(one: Configuration, task: CatalogTask) {
  const isSupported = supports(one, task);
  const facts = [sizeText(one), memoryText(one), exportsText(one, task)].filter(Boolean);
  return {
    value: one.name,
    label: one.title,
    group: one.group,
    text: isSupported
      ? `${one.goodFor} ${facts.join(' · ')}`
      : `Does not support ${task.title.toLowerCase()}. ${one.goodFor}`,
    disabled: !isSupported,
  };
}

function memoryText({ method, quantization }: Configuration): string | null {
  if (method.peft_type === 'FULL' || (method.relative_size ?? 0) > 1)
    return 'several times the memory';
  return quantization ? 'a quarter of the base model’s memory' : null;
}
