import type { Catalog, FileObject, ModelObject } from '@graft/contracts';
import { useEffect, useMemo, useRef, useState, type FormEvent } from 'react';
import { api, ApiError } from '../api.js';
import { useLoaded } from '../loading.js';
import { go } from '../navigation.js';
import { Failure } from '../parts/failure.js';
import { Fold } from '../parts/fold.js';
import { BaseAndData, Pace } from '../parts/job-basics.js';
import { BLANK, bodyOf, draftOf, type Draft } from '../parts/job-draft.js';
import { JobPlan } from '../parts/job-plan.js';
import { Loading } from '../parts/loading.js';
import { MethodChoice, MethodOptions } from '../parts/method-choice.js';
import { fieldsOf, SchemaForm, wrongIn } from '../parts/schema-form.js';
import { usePreview, type Preview } from '../parts/use-preview.js';

interface NewJobProps {
  /** A job to begin as. */
  readonly from: string | null;
  /** A training file to begin with. */
  readonly file: string | null;
}

export function NewJobPage({ from, file }: NewJobProps) {
  const catalog = useLoaded(api.catalog);
  const models = useLoaded(async () => (await api.models()).data);
  const files = useLoaded(async () => (await api.files('fine-tune')).data);
  const source = useLoaded(async () => (from ? api.job(from) : null));
  const problem = catalog.error ?? models.error ?? files.error;
  if (!catalog.value || !models.value || !files.value || (from && !source.value && !source.error)) {
    return (
      <main>
        <h1>New job</h1>
        <Failure error={problem} />
        <Loading error={problem} />
      </main>
    );
  }
  const start = source.value
    ? draftOf(source.value, catalog.value)
    : { ...BLANK, training_file: file ?? '' };
  return (
    <JobForm
      catalog={catalog.value}
      models={models.value}
      files={files.value}
      start={start}
      unfounded={source.error}
      filesChanged={files.reload}
    />
  );
}

interface FormProps {
  readonly catalog: Catalog;
  readonly models: readonly ModelObject[];
  readonly files: readonly FileObject[];
  readonly start: Draft;
  /** Why the form does not begin as it was to. */
  readonly unfounded: Error | null;
  readonly filesChanged: () => void;
}

function showRefused(form: HTMLFormElement | null): void {
  const field = form?.querySelector<HTMLElement>('[aria-invalid="true"]');
  field?.focus();
  field?.scrollIntoView({ block: 'center' });
}

function JobForm({ catalog, models, files, start, unfounded, filesChanged }: FormProps) {
  const [draft, setDraft] = useState(start);
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const method = catalog.methods.find((m) => m.peft_type === draft.method) ?? catalog.methods[0];
  const bases = models.filter((m) => m.graft?.kind === 'base' && m.graft.status === 'ready');
  const graftFields = useMemo(
    () => fieldsOf(catalog.graft_schema).filter(({ name }) => name !== 'learning_rate'),
    [catalog],
  );
  const body = method && bodyOf(draft, method, catalog);
  const preview = usePreview(draft.model && draft.training_file && body ? body : null);
  const problem = error ?? preview.refused;
  const wrong = problem instanceof ApiError ? problem : null;
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

  if (!method || !body) return <main>This build has no training method.</main>;
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    await api.createJob(body).then((job) => go(`/jobs/${job.id}`), setError);
    setBusy(false);
  };
  const now = { draft, change, wrong };
  return (
    <main>
      <h1>New job</h1>
      <Failure error={unfounded} />
      <form ref={form} className="new-job" onSubmit={(e) => void submit(e)}>
        <div>
          <h2>Base and data</h2>
          <BaseAndData {...now} bases={bases} files={files} filesChanged={filesChanged} />
          <h2>Method</h2>
          <MethodChoice
            methods={catalog.methods}
            chosen={method}
            choose={(peftType) => change({ method: peftType, peft: {} })}
          />
          <MethodOptions
            method={method}
            values={draft.peft}
            wrong={wrong}
            change={(name, value) => change({ peft: { ...draft.peft, [name]: value } })}
          />
          <h2>Training</h2>
          <Pace {...now} defaultRate={method.default_learning_rate} plan={preview.plan} />
          <Fold
            className="card"
            title="More training options"
            reason={wrongIn(wrong, 'graft', graftFields)}
          >
            <SchemaForm
              prefix="graft"
              fields={graftFields}
              values={draft.graft}
              wrong={wrong}
              change={(name, value) => change({ graft: { ...draft.graft, [name]: value } })}
            />
          </Fold>
        </div>
        <Check preview={preview} error={error} busy={busy} />
      </form>
    </main>
  );
}

interface CheckProps {
  readonly preview: Preview;
  /** Why Submit was refused; it says more than why the preview was. */
  readonly error: Error | null;
  readonly busy: boolean;
}

function Check({ preview, error, busy }: CheckProps) {
  return (
    <aside>
      <JobPlan {...preview} refused={error ? null : preview.refused} />
      <Failure error={error} />
      <button className="main wide" disabled={busy}>
        {busy ? 'Submitting…' : 'Submit'}
      </button>
    </aside>
  );
}
