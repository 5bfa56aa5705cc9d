import type { Catalog, CatalogMethod, CatalogTask } from '@graft/contracts';
import { X } from 'lucide-react';
import { Answer, useOpen } from '../../forms/answer.js';
import type { Change } from '../../forms/change.js';
import { problemAt, type Problem } from '../../forms/field-problem.js';
import { labelOf } from '../../forms/labels.js';
import { Button, IconButton } from '../../ui/controls/button.js';
import { Combobox } from '../../ui/controls/combobox.js';
import { Field, fieldTexts } from '../../ui/controls/field.js';
import { NumberField } from '../../ui/controls/number-field.js';
import { supports } from '../method-list.js';
import {
  triedMethods,
  valuesHint,
  variedFields,
  type SweepDraft,
  type Varied,
} from './sweep-draft.js';

const ALGORITHMS: Readonly<Record<SweepDraft['algorithm'], string>> = {
  asha: 'ASHA: sample combinations, stop weak ones early',
  random: 'Random: sample combinations',
  grid: 'Grid: all combinations',
};

interface Props {
  readonly catalog: Catalog;
  /** The form's method and task, which trials share. */
  readonly chosen: { readonly method: CatalogMethod; readonly task: CatalogTask };
  readonly problems: readonly Problem[];
  readonly busy: boolean;
  readonly draft: SweepDraft;
  readonly change: Change<SweepDraft>;
  readonly start: (search: SweepDraft) => void;
}

/** Form that starts a sweep over methods or options. */
export function SweepForm({ catalog, chosen, problems, busy, draft, change, start }: Props) {
  const { values } = draft;
  const fields = variedFields(catalog, chosen, draft);
  const tried = fields.filter(({ path }) => values[path] !== undefined);
  const isWrong = problems.some(({ path }) => path?.startsWith('search'));
  const isUsed = tried.length > 0 || draft.methods.length > 0;
  const [isOpen, setOpen] = useOpen(isWrong || isUsed);
  return (
    <Answer
      title="Sweep"
      line={<span>Run variations of this job and rank them</span>}
      more="Try values of…"
      isOpen={isOpen}
      setOpen={setOpen}
    >
      <p className="faint">
        Runs variations of this job and ranks them by validation loss, measured on the validation
        data or, if there is none, on a tenth of the training data.
      </p>
      <MethodList draft={draft} change={change} methods={catalog.methods} task={chosen.task} />
      {tried.map((varied) => (
        <Values
          key={varied.path}
          varied={varied}
          text={values[varied.path] ?? ''}
          problem={problemAt(problems, `search.parameters.${varied.path}`)}
          change={(text) => change((now) => ({ values: { ...now.values, [varied.path]: text } }))}
          remove={() =>
            change(({ values: { [varied.path]: _, ...others } }) => ({ values: others }))
          }
        />
      ))}
      <Search
        draft={draft}
        change={change}
        rest={fields.filter((one) => !tried.includes(one))}
        problem={problemAt(problems, 'search.max_trials')}
      />
      <span>
        <Button
          disabled={busy || !isUsed}
          onClick={() => start({ ...draft, values: onlyOf(tried, values) })}
        >
          Start sweep
        </Button>
      </span>
    </Answer>
  );
}

/** Drops values of fields that the current method does not have. */
const onlyOf = (fields: readonly Varied[], values: SweepDraft['values']): SweepDraft['values'] =>
  Object.fromEntries(fields.map(({ path }) => [path, values[path] ?? '']));

interface SearchProps {
  readonly draft: SweepDraft;
  readonly change: Change<SweepDraft>;
  readonly rest: readonly Varied[];
  readonly problem: string | null;
}

/** Group of a parameter in the list of all. */
const groupOf = (path: string): string =>
  path.startsWith('peft.') ? 'Method' : path.startsWith('graft.') ? 'Options' : 'Length';

/** Selects another parameter and the search strategy. */
function Search({ draft: { algorithm, max_trials }, change, rest, problem }: SearchProps) {
  return (
    <div className="fields">
      <Field id="sweep-field" label="Parameter">
        <Combobox
          id="sweep-field"
          value=""
          placeholder="Add a parameter…"
          options={rest.map(({ path }) => ({
            value: path,
            label: labelOf(path),
            text: path,
            group: groupOf(path),
          }))}
          change={(path) => change(({ values }) => ({ values: { ...values, [path]: '' } }))}
        />
      </Field>
      <Field id="sweep-algorithm" label="Strategy" info={{ path: 'search.algorithm' }}>
        <select
          id="sweep-algorithm"
          value={algorithm}
          onChange={({ target }) => change({ algorithm: target.value as SweepDraft['algorithm'] })}
        >
          {Object.entries(ALGORITHMS).map(([name, text]) => (
            <option key={name} value={name}>
              {text}
            </option>
          ))}
        </select>
      </Field>
      <NumberField
        id="search.max_trials"
        label="Max trials"
        value={max_trials}
        automatic={algorithm === 'grid' ? 'all' : '16'}
        problem={problem}
        info={{ path: 'search.max_trials' }}
        change={(most) => change({ max_trials: most })}
      />
    </div>
  );
}

/** Drops options of the method, which do not apply to other methods. */
const withoutPeft = (values: SweepDraft['values']): SweepDraft['values'] =>
  Object.fromEntries(Object.entries(values).filter(([path]) => !path.startsWith('peft.')));

interface MethodListProps {
  readonly draft: SweepDraft;
  readonly change: Change<SweepDraft>;
  readonly methods: readonly CatalogMethod[];
  readonly task: CatalogTask;
}

/** Configurations to compare, such as LoRA, DoRA and prompt tuning. */
function MethodList({ draft: { methods: chosen }, change, methods, task }: MethodListProps) {
  const known = triedMethods(methods);
  const titleOf = (type: string) => known.find(({ name }) => name === type)?.title ?? type;
  return (
    <Field id="sweep-methods" label="Methods" info={{ path: 'search.parameters.peft' }}>
      <div className="bar">
        {chosen.map((type) => (
          <button
            key={type}
            type="button"
            className="small"
            aria-label={`Remove ${titleOf(type)}`}
            onClick={() =>
              change((now) => ({ methods: now.methods.filter((one) => one !== type) }))
            }
          >
            {titleOf(type)} <X aria-hidden="true" />
          </button>
        ))}
        <span className="sweep-pick">
          <Combobox
            id="sweep-methods"
            value=""
            placeholder={chosen.length === 0 ? 'The method above' : 'Add a method…'}
            options={known
              .filter((one) => !chosen.includes(one.name) && supports(one, task))
              .map(({ name, title, goodFor, group }) => ({
                value: name,
                label: title,
                text: goodFor,
                group,
              }))}
            change={(type) =>
              change(({ methods: tried, values }) => ({
                methods: [...tried, type],
                values: withoutPeft(values),
              }))
            }
          />
        </span>
      </div>
    </Field>
  );
}

interface ValuesProps {
  readonly varied: Varied;
  readonly text: string;
  readonly problem: string | null;
  readonly change: (text: string) => void;
  readonly remove: () => void;
}

function Values({ varied: { path, field }, text, problem, change, remove }: ValuesProps) {
  const id = `search.parameters.${path}`;
  const label = labelOf(path);
  return (
    <Field id={id} label={`${label}: values`} info={{ path, text: field.help }} problem={problem}>
      <div className="bar">
        <input
          id={id}
          className="wide"
          value={text}
          placeholder={valuesHint(field)}
          aria-invalid={problem !== null}
          aria-describedby={fieldTexts(id, { problem })}
          onChange={(event) => change(event.target.value)}
        />
        <IconButton label={`Remove ${label}`} size="s" icon={<X />} onClick={remove} />
      </div>
    </Field>
  );
}
