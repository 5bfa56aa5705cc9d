import type { Catalog, CatalogMethod, FileObject, ModelObject } from '@graft/contracts';
import { useEffect, useMemo, useRef, useState, type FormEvent } from 'react';
import { api, ApiError } from '../api.js';
import { useLoaded } from '../loading.js';
import { go } from '../navigation.js';
import { Failure } from '../parts/failure.js';
import { Basics } from '../parts/job-basics.js';
import { BLANK, bodyOf, draftOf, type Draft } from '../parts/job-draft.js';
import { MethodChoice } from '../parts/method-choice.js';
import { fieldsOf, SchemaForm } from '../parts/schema-form.js';

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
