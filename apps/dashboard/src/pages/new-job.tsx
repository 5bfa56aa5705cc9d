import type { Catalog, CatalogMethod, FileObject, JobObject, ModelObject } from '@graft/contracts';
import { useEffect, useMemo, useRef, useState, type FormEvent } from 'react';
import { api, ApiError } from '../api.js';
import { useLoaded } from '../loading.js';
import { go } from '../navigation.js';
import { Failure } from '../parts/failure.js';
import { described, FieldProblem, isOf, type Refusal } from '../parts/field-problem.js';
import { FileReport } from '../parts/file-report.js';
import { collect, fieldsOf, SchemaForm } from '../parts/schema-form.js';
import { sampleFile } from '../parts/sample.js';
import { ago, bytes } from '../wording.js';

type Values = Readonly<Record<string, string>>;

interface Draft {
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

const BLANK: Draft = {
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
function draftOf(job: JobObject, catalog: Catalog): Draft {
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

export function NewJobPage({ from }: { from: string | null }) {
  const catalog = useLoaded(api.catalog);
  const models = useLoaded(async () => (await api.models()).data);
  const files = useLoaded(async () => (await api.files('fine-tune')).data);
  const source = useLoaded(async () => (from ? api.job(from) : null));
  if (!catalog.value || !models.value || !files.value || (from && !source.value && !source.error)) {
    return (
      <main>
        {catalog.error ? <Failure error={catalog.error} /> : <p className="faint">Loading…</p>}
      </main>
    );
  }
  const start = source.value ? draftOf(source.value, catalog.value) : BLANK;
  return (
    <JobForm
      catalog={catalog.value}
      models={models.value}
      files={files.value}
      start={start}
      filesChanged={files.reload}
    />
  );
}

interface FormProps {
  readonly catalog: Catalog;
  readonly models: readonly ModelObject[];
  readonly files: readonly FileObject[];
  readonly start: Draft;
  readonly filesChanged: () => void;
}

function showRefused(form: HTMLFormElement | null): void {
  const field = form?.querySelector<HTMLElement>('[aria-invalid="true"]');
  field?.focus();
  field?.scrollIntoView({ block: 'center' });
}

/** The training options; the learning rate's default is the method's. */
const optionsOf = (catalog: Catalog, method: CatalogMethod | undefined) =>
  fieldsOf(catalog.graft_schema).map((field) =>
    field.name === 'learning_rate' ? { ...field, fallback: method?.default_learning_rate } : field,
  );

function JobForm({ catalog, models, files, start, filesChanged }: FormProps) {
  const [draft, setDraft] = useState(start);
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const method = catalog.methods.find((m) => m.peft_type === draft.method) ?? catalog.methods[0];
  const bases = models.filter((m) => m.graft?.kind === 'base' && m.graft.status === 'ready');
  const peftFields = useMemo(() => (method ? fieldsOf(method.schema) : []), [method]);
  const graftFields = useMemo(() => optionsOf(catalog, method), [catalog, method]);
  const wrong = error instanceof ApiError ? error : null;
  const change = (part: Partial<Draft>) => {
    setError(null);
    setDraft((now) => ({ ...now, ...part }));
  };

  useEffect(() => {
    if (!draft.model && bases[0]) change({ model: bases[0].id });
  }, [bases, draft.model]);
  useEffect(() => {
    if (error) showRefused(form.current);
  }, [error]);

  if (!method) return <main>This build has no training method.</main>;
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    await api
      .createJob(bodyOf(draft, method, catalog))
      .then((job) => go(`/jobs/${job.id}`), setError);
    setBusy(false);
  };
  return (
    <main>
      <h1>New job</h1>
      <form ref={form} onSubmit={(e) => void submit(e)}>
        <Basics
          draft={draft}
          change={change}
          wrong={wrong}
          bases={bases}
          files={files}
          filesChanged={filesChanged}
        />
        <h2>Method</h2>
        <MethodChoice
          methods={catalog.methods}
          chosen={method}
          choose={(peftType) => change({ method: peftType, peft: {} })}
        />
        {peftFields.length > 0 && (
          <div className="card">
            <SchemaForm
              prefix="peft"
              fields={peftFields}
              values={draft.peft}
              wrong={wrong}
              change={(name, value) => change({ peft: { ...draft.peft, [name]: value } })}
            />
          </div>
        )}
        <details className="card" open={wrong?.param?.startsWith('graft') === true || undefined}>
          <summary>Training options</summary>
          <SchemaForm
            prefix="graft"
            fields={graftFields}
            values={draft.graft}
            wrong={wrong}
            change={(name, value) => change({ graft: { ...draft.graft, [name]: value } })}
          />
        </details>
        <div className="submit">
          <button className="main" disabled={busy}>
            {busy ? 'Submitting…' : 'Submit'}
          </button>
          <Failure error={error} />
        </div>
      </form>
    </main>
  );
}

interface MethodChoiceProps {
  readonly methods: readonly CatalogMethod[];
  readonly chosen: CatalogMethod;
  readonly choose: (peftType: string) => void;
}

function MethodChoice({ methods, chosen, choose }: MethodChoiceProps) {
  return (
    <div className="choices" role="radiogroup" aria-label="Method">
      {methods.map((method) => (
        <label key={method.peft_type} className={method === chosen ? 'choice chosen' : 'choice'}>
          <input
            type="radio"
            name="method"
            checked={method === chosen}
            onChange={() => choose(method.peft_type)}
          />
          <b>{method.title}</b>
          <small>{method.summary}</small>
        </label>
      ))}
    </div>
  );
}

interface BasicsProps {
  readonly draft: Draft;
  readonly change: (part: Partial<Draft>) => void;
  readonly wrong: Refusal | null;
  readonly bases: readonly ModelObject[];
  readonly files: readonly FileObject[];
  readonly filesChanged: () => void;
}

function Basics({ draft, change, wrong, bases, files, filesChanged }: BasicsProps) {
  const [added, setAdded] = useState<FileObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const data = files
    .filter((f) => f.purpose === 'fine-tune' && f.status !== 'error')
    .map((f) => [f.id, `${f.filename} · ${bytes(f.bytes)} · ${ago(f.created_at)}`] as const);
  const upload = (chosen: File | undefined) => {
    if (!chosen) return;
    setError(null);
    const take = (file: FileObject) => {
      setAdded(file);
      filesChanged();
      if (file.status !== 'error') change({ training_file: file.id });
    };
    api.upload(chosen).then(take, setError);
  };
  const picked = (name: 'model' | 'training_file' | 'validation_file') => ({
    label: name,
    value: draft[name],
    wrong,
    change: (value: string) => change({ [name]: value }),
  });
  const text = (name: 'suffix' | 'n_epochs' | 'batch_size' | 'seed') => ({
    label: name,
    value: draft[name],
    wrong,
    change: (value: string) => change({ [name]: value }),
  });
  return (
    <div className="card">
      <div className="fields">
        <Pick
          {...picked('model')}
          required
          choices={bases.map((m) => [m.id, m.id])}
          none="Import a base first (Models)"
          help="The frozen base that the adapter is trained on"
        />
        <Pick
          {...picked('training_file')}
          required
          choices={data}
          none="Choose or upload one"
          help="Chats, prompts with completions, or texts: one JSON object a line"
        />
        <div className="field">
          <label htmlFor="upload">or upload training data</label>
          <input
            id="upload"
            type="file"
            accept=".jsonl"
            onChange={(e) => (upload(e.target.files?.[0]), (e.target.value = ''))}
          />
          <small>
            or{' '}
            <button type="button" className="small" onClick={() => upload(sampleFile())}>
              take a sample
            </button>{' '}
            of 24 sums
          </small>
        </div>
        <Pick
          {...picked('validation_file')}
          choices={data}
          none="none"
          help="Held out: its loss is shown, nothing is learnt from it"
        />
        <Text {...text('suffix')} placeholder="none" help="Part of the new model's name" />
        <Text {...text('n_epochs')} placeholder="auto" help="Passes over the data" />
        <Text {...text('batch_size')} placeholder="auto" help="Examples in a step" />
        <Text {...text('seed')} placeholder="auto" help="Of data order, dropout and new weights" />
      </div>
      <Failure error={error} />
      {added && <FileReport file={added} />}
    </div>
  );
}

interface PickProps {
  readonly label: string;
  readonly value: string;
  readonly choices: readonly (readonly [string, string])[];
  readonly change: (value: string) => void;
  readonly none: string;
  readonly wrong: Refusal | null;
  readonly help: string;
  readonly required?: boolean;
}

function Pick({ label, value, choices, change, none, wrong, help, required }: PickProps) {
  const bad = isOf(wrong, label);
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={label}>{label}</label>
      <select
        id={label}
        value={value}
        required={required}
        aria-invalid={bad}
        aria-describedby={described(label, { help: true, bad })}
        onChange={(e) => change(e.target.value)}
      >
        <option value="">{none}</option>
        {choices.map(([id, text]) => (
          <option key={id} value={id}>
            {text}
          </option>
        ))}
      </select>
      {bad && <FieldProblem id={label} wrong={wrong} />}
      <small id={`${label}-help`}>{help}</small>
    </div>
  );
}

function Text({
  label,
  value,
  change,
  placeholder,
  wrong,
  help,
}: {
  label: string;
  value: string;
  change: (value: string) => void;
  placeholder: string;
  wrong: Refusal | null;
  help: string;
}) {
  // n_epochs comes back as method.supervised.hyperparameters.n_epochs
  const bad = isOf(wrong, label) || wrong?.param?.endsWith(`hyperparameters.${label}`) === true;
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={label}>{label}</label>
      <input
        id={label}
        value={value}
        placeholder={placeholder}
        aria-invalid={bad}
        aria-describedby={described(label, { help: true, bad })}
        onChange={(e) => change(e.target.value)}
      />
      {bad && <FieldProblem id={label} wrong={wrong} />}
      <small id={`${label}-help`}>{help}</small>
    </div>
  );
}
