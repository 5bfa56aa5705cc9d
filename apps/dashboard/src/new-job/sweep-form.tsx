import type { Catalog, CatalogMethod, CatalogTask } from '@graft/contracts';
import { useState } from 'react';
import type { Change } from '../forms/change.js';
import { described, FieldProblem, isOf, type Refusal } from '../forms/field-problem.js';
import { Fold } from '../ui/fold.js';
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
  readonly wrong: Refusal | null;
  readonly busy: boolean;
  readonly draft: SweepDraft;
  readonly change: Change<SweepDraft>;
  readonly start: (search: SweepDraft) => void;
}

/** Form that starts a sweep over methods or options. */
export function SweepForm({ catalog, chosen, wrong, busy, draft, change, start }: Props) {
  const { values } = draft;
  const fields = variedFields(catalog, chosen, draft);
  const tried = fields.filter(({ path }) => values[path] !== undefined);
  const isWrong = wrong?.param?.startsWith('search') === true;
  const [startsOpen] = useState(tried.length > 0 || draft.methods.length > 0);
  return (
    <Fold className="card" title="Several jobs: a sweep" reason={isWrong ? wrong : startsOpen}>
      <p className="faint">
        Runs variations of this job and ranks them by validation loss, measured on the validation
        data or, if there is none, on a tenth of the training data.
      </p>
      <MethodList draft={draft} change={change} methods={catalog.methods} />
      {tried.map((varied) => (
        <Values
          key={varied.path}
          varied={varied}
          text={values[varied.path] ?? ''}
          wrong={wrong}
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
        wrong={wrong}
      />
      <p className="bar">
        <button
          type="button"
          disabled={busy || (tried.length === 0 && draft.methods.length === 0)}
          onClick={() => start({ ...draft, values: onlyOf(tried, values) })}
        >
          Start sweep
        </button>
      </p>
    </Fold>
  );
}

/** Drops values of fields that the current method does not have. */
const onlyOf = (fields: readonly Varied[], values: SweepDraft['values']): SweepDraft['values'] =>
  Object.fromEntries(fields.map(({ path }) => [path, values[path] ?? '']));

interface SearchProps {
  readonly draft: SweepDraft;
  readonly change: Change<SweepDraft>;
  readonly rest: readonly Varied[];
  readonly wrong: Refusal | null;
}

/** Selects another parameter and the search strategy. */
function Search({ draft: { algorithm, max_trials }, change, rest, wrong }: SearchProps) {
  const bad = isOf(wrong, 'search.max_trials');
  return (
    <div className="fields">
      <div className="field">
        <label htmlFor="sweep-field">Parameter</label>
        <select
          id="sweep-field"
          value=""
          onChange={({ target: { value: path } }) =>
            change(({ values }) => ({ values: { ...values, [path]: '' } }))
          }
        >
          <option value="">choose…</option>
          {rest.map(({ path }) => (
            <option key={path}>{path}</option>
          ))}
        </select>
      </div>
      <div className="field">
        <label htmlFor="sweep-algorithm">Strategy</label>
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
      </div>
      <div className={bad ? 'field wrong' : 'field'}>
        <label htmlFor="sweep-most">Max trials</label>
        <input
          id="sweep-most"
          inputMode="numeric"
          placeholder={algorithm === 'grid' ? 'all' : '16 jobs'}
          value={max_trials}
          aria-invalid={bad}
          aria-describedby={described('sweep-most', { help: false, bad })}
          onChange={(event) => change({ max_trials: event.target.value })}
        />
        {bad && <FieldProblem id="sweep-most" wrong={wrong} />}
      </div>
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
}

function MethodList({ draft: { methods: chosen }, change, methods }: MethodListProps) {
  const known = triedMethods(methods);
  const titleOf = (type: string) => known.find(({ name }) => name === type)?.title ?? type;
  return (
    <div className="bar">
      <label htmlFor="sweep-methods">Methods</label>
      {chosen.map((type) => (
        <button
          key={type}
          type="button"
          className="small"
          aria-label={`Remove ${titleOf(type)}`}
          onClick={() => change((now) => ({ methods: now.methods.filter((one) => one !== type) }))}
        >
          {titleOf(type)} <span aria-hidden="true">×</span>
        </button>
      ))}
      <select
        id="sweep-methods"
        value=""
        onChange={({ target: { value: type } }) =>
          change(({ methods: tried, values }) => ({
            methods: [...tried, type],
            values: withoutPeft(values),
          }))
        }
      >
        <option value="">{chosen.length === 0 ? 'the method above' : 'and…'}</option>
        {known
          .filter(({ name }) => !chosen.includes(name))
          .map(({ name, title }) => (
            <option key={name} value={name}>
              {title}
            </option>
          ))}
      </select>
    </div>
  );
}

interface ValuesProps {
  readonly varied: Varied;
  readonly text: string;
  readonly wrong: Refusal | null;
  readonly change: (text: string) => void;
  readonly remove: () => void;
}

function Values({ varied: { path, field }, text, wrong, change, remove }: ValuesProps) {
  const id = `search.parameters.${path}`;
  const bad = isOf(wrong, id);
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={id}>{path}</label>
      <div className="bar">
        <input
          id={id}
          className="wide"
          value={text}
          placeholder={valuesHint(field)}
          aria-invalid={bad}
          aria-describedby={bad ? `${id}-problem` : undefined}
          onChange={(event) => change(event.target.value)}
        />
        <button type="button" className="small" aria-label={`Remove ${path}`} onClick={remove}>
          <span aria-hidden="true">×</span>
        </button>
      </div>
      {bad && <FieldProblem id={id} wrong={wrong} />}
    </div>
  );
}
