import type { Catalog, FileObject, JobObject, ModelObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useMemo, useRef, useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { useLoaded } from '../api/loaded.js';
import { Failure } from '../ui/failure.js';
import { Fold } from '../ui/fold.js';
import { changed, type Change } from '../forms/change.js';
import { BaseModel, Pace, TrainingData } from '../new-job/job-basics.js';
import { BLANK, bodyOf, defaultRate, draftOf, taskOf, type Draft } from '../new-job/job-draft.js';
import { forgetDraft, saveDraft, savedDraft } from '../new-job/saved-draft.js';
import { LimitsNear } from '../projects/limits-near.js';
import { JobPlan } from '../new-job/job-plan.js';
import { JobTrackers } from '../new-job/job-trackers.js';
import { Loading } from '../ui/loading.js';
import { MethodChoice, MethodOptions } from '../new-job/method-choice.js';
import { PresetChoice } from '../new-job/preset-choice.js';
import { fieldsOf, SchemaForm, wrongIn, type Field } from '../forms/schema-form.js';
import { SamplePrompts } from '../new-job/sample-prompts.js';
import { sweepOf } from '../new-job/sweep-draft.js';
import { SweepForm } from '../new-job/sweep-form.js';
import { StepHead } from '../forms/step-head.js';
import { TaskChoice } from '../new-job/task-choice.js';
import { usePreview, type Preview } from '../new-job/use-preview.js';

interface NewJobProps {
  /** Id of a job to copy. */
  readonly from: string | null;
  /** Name of a checkpoint to start from. */
  readonly checkpoint: string | null;
  /** Id of a training file to preselect. */
  readonly file: string | null;
  /** Name of a base model to preselect. */
  readonly model: string | null;
}

export function NewJobPage({ from, checkpoint, file, model }: NewJobProps) {
  const catalog = useLoaded(['catalog'], api.catalog);
  const models = useLoaded(['models'], async () => (await api.models()).data);
  const files = useLoaded(['files', 'fine-tune'], async () => (await api.files('fine-tune')).data);
  const pools = useLoaded(['pools'], async () => (await api.pools()).data);
  const source = useLoaded(['job-to-begin-as', from, checkpoint], async () => {
    if (!from) return null;
    const job = await api.job(from);
    const base = checkpoint ? ((await api.model(checkpoint)).graft?.base ?? job.model) : null;
    return { job, base };
  });
  const [saved, setSaved] = useState(() =>
    savedDraft((from ?? checkpoint ?? file ?? model) !== null),
  );
  const problem = catalog.error ?? models.error ?? files.error;
  const ready = !from || source.value || source.error;
  // Without the list of pools the form still accepts a name.
  const poolsKnown = pools.value?.map(({ id }) => id) ?? (pools.error && []);
  if (!catalog.value || !models.value || !files.value || !poolsKnown || !ready) {
    return (
      <main>
        <h1>New job</h1>
        <Failure error={problem} />
        <Loading error={problem} />
      </main>
    );
  }
  const given = source.value
    ? draftFrom(source.value, checkpoint, catalog.value, files.value)
    : { ...BLANK, training_file: file ?? '', model: model ?? '' };
  return (
    <JobForm
      key={saved ? 'kept' : 'given'}
      startOver={
        saved &&
        (() => {
          forgetDraft();
          setSaved(null);
        })
      }
      catalog={catalog.value}
      models={models.value}
      files={files.value}
      pools={poolsKnown}
      start={saved ?? given}
      unfounded={source.error}
      filesChanged={files.reload}
    />
  );
}

/**
 * Returns the draft for a copy of a job, or for a job that starts from its checkpoint and keeps its
 * method's fields.
 */
function draftFrom(
  { job, base }: { readonly job: JobObject; readonly base: string | null },
  checkpoint: string | null,
  catalog: Catalog,
  files: readonly FileObject[],
): Draft {
  const draft = draftOf(job, catalog, named(files, job.training_file ?? ''));
  if (checkpoint === null || base === null) return draft;
  const graft = { ...draft.graft, init_adapter: checkpoint };
  return { ...draft, model: base, peft: {}, graft };
}

/** Options of `graft` that have their own fields in the form. */
const ELSEWHERE = [
  'learning_rate',
  'task',
  'task_options',
  'validation_split',
  'stratify_by_column',
  'sample_prompts',
];

/**
 * Returns the fields of `graft`. The pool is a choice of those that the project may use, plus the
 * requested one.
 */
function optionFields(catalog: Catalog, pools: readonly string[], requested?: string): Field[] {
  const fields = fieldsOf(catalog.graft_schema).filter(({ name }) => !ELSEWHERE.includes(name));
  const choices = [...new Set([...pools, ...(requested ? [requested] : [])])];
  return fields.map((field) =>
    field.name === 'pool' && pools.length > 0 ? { ...field, kind: 'choice', choices } : field,
  );
}

interface FormProps {
  readonly catalog: Catalog;
  readonly models: readonly ModelObject[];
  readonly files: readonly FileObject[];
  /** Pools that the project may use. */
  readonly pools: readonly string[];
  readonly start: Draft;
  /** Discards the kept draft. Null if the form did not start with one. */
  readonly startOver: (() => void) | null;
  /** Error that prevented the form from being prefilled. */
  readonly unfounded: Error | null;
  readonly filesChanged: () => void;
}

const named = <T extends { readonly id: string }>(list: readonly T[], id: string): T | undefined =>
  list.find((one) => one.id === id);

function showRefused(form: HTMLFormElement | null): void {
  const field = form?.querySelector<HTMLElement>('[aria-invalid="true"]');
  field?.focus();
  field?.scrollIntoView({ block: 'center' });
}

/** Sends a create request and opens the new object's page. */
function useSending(onRefusal: (refused: Error | null) => void) {
  const navigate = useNavigate();
  const [busy, setBusy] = useState(false);
  const send = async (to: '/jobs/$id' | '/sweeps/$id', made: Promise<{ readonly id: string }>) => {
    setBusy(true);
    onRefusal(null);
    await made.then(({ id }) => {
      forgetDraft();
      return navigate({ to, params: { id } });
    }, onRefusal);
    setBusy(false);
  };
  return { busy, send };
}

/** The form's contents, a function that sets a part of it, and one for the user's changes, which are kept. */
function useDraft(start: Draft) {
  const [draft, setDraft] = useState(start);
  const isTyped = useRef(false);
  useEffect(() => {
    if (isTyped.current) saveDraft(draft);
  }, [draft]);
  const set: Change<Draft> = (part) => setDraft((now) => changed(now, part));
  const type: Change<Draft> = (part) => {
    isTyped.current = true;
    set(part);
  };
  return [draft, set, type] as const;
}

function JobForm({ catalog, models, files, pools, start, ...given }: FormProps) {
  const [draft, setDraft, type] = useDraft(start);
  const [error, setError] = useState<Error | null>(null);
  const { busy, send } = useSending(setError);
  const form = useRef<HTMLFormElement>(null);
  const method = catalog.methods.find((m) => m.peft_type === draft.method) ?? catalog.methods[0];
  const bases = models.filter((m) => m.graft?.kind === 'base' && m.graft.status === 'ready');
  const graftFields = useMemo(
    () => optionFields(catalog, pools, start.graft['pool']),
    [catalog, pools, start],
  );
  const subject = { file: named(files, draft.training_file), base: named(bases, draft.model) };
  const task = taskOf(draft, catalog, subject);
  const body = method && task && bodyOf(draft, { method, task, file: subject.file }, catalog);
  const preview = usePreview(draft.model && draft.training_file && body ? body : null);
  const problem = error ?? preview.refused;
  const wrong = problem instanceof ApiError ? problem : null;
  const change: Change<Draft> = (part) => {
    setError(null);
    type(part);
  };

  useEffect(() => {
    // Prefer decoders: an encoder needs labeled data, which fewer files contain.
    const usual = bases.find(({ graft }) => graft?.uses?.includes('chat')) ?? bases[0];
    if (!draft.model && usual) setDraft({ model: usual.id });
  }, [bases, draft.model]);
  useEffect(() => {
    if (error) showRefused(form.current);
  }, [error]);

  if (!method || !task || !body) return <main>This build has no training method.</main>;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void send('/jobs/$id', api.createJob(body));
  };
  const sweep = (made: object) => void send('/sweeps/$id', api.createSweep(made));
  const now = { draft, change, wrong };
  return (
    <main>
      <h1>New job</h1>
      {given.startOver && <SavedDraftNotice startOver={given.startOver} />}
      <Start from={start.graft['init_adapter']} unfounded={given.unfounded} />
      <form ref={form} className="new-job" onSubmit={submit}>
        <div>
          <StepHead number={1} name="Data" />
          <TrainingData {...now} files={files} filesChanged={given.filesChanged} />
          <StepHead number={2} name="Base" />
          <BaseModel {...now} bases={bases} />
          <StepHead number={3} name="Method" />
          <h3>Task</h3>
          <TaskChoice {...now} catalog={catalog} chosen={task} subject={subject} />
          <h3>Training method</h3>
          <MethodChoice
            methods={catalog.methods}
            chosen={method}
            choose={(peftType) => change({ method: peftType, peft: {} })}
          />
          <MethodOptions
            method={method}
            values={draft.peft}
            wrong={wrong}
            change={(name, value) => change((now) => ({ peft: { ...now.peft, [name]: value } }))}
          />
          <h3>Training length</h3>
          <PresetChoice draft={draft} change={change} preview={preview} />
          <Pace {...now} defaultRate={defaultRate(method, task)} plan={preview.plan} />
          <SamplePrompts {...now} task={task} file={subject.file} />
          <JobTrackers {...now} offered={start.integrations} />
          <MoreOptions {...now} fields={graftFields} />
          <SweepForm
            chosen={{ method, task }}
            draft={draft.sweep}
            change={(part) => change((now) => ({ sweep: changed(now.sweep, part) }))}
            start={(search) => sweep(sweepOf(body, search))}
            {...{ catalog, wrong, busy }}
          />
        </div>
        <Check {...{ preview, error, busy }} tryMethods={() => sweep(methodsOf(body))} />
      </form>
    </main>
  );
}

const SavedDraftNotice = ({ startOver }: { startOver: () => void }) => (
  <p className="notice" role="status">
    Your draft was restored.{' '}
    <button type="button" className="small" onClick={startOver}>
      Start over
    </button>
  </p>
);

/** Source of the job if it does not start from its base model alone, or the error that prevented prefilling. */
function Start({ from, unfounded }: { from: string | undefined; unfounded: Error | null }) {
  if (!from) return <Failure error={unfounded} />;
  return (
    <p className="notice" role="status">
      Continues from <code className="break">{from}</code>. Method options that you leave empty are
      taken from it (<code>graft.init_adapter</code>).
    </p>
  );
}

interface MoreProps {
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly wrong: ApiError | null;
  readonly fields: Field[];
}

/** Options that most jobs leave at their defaults. */
const MoreOptions = ({ draft: { graft }, change, wrong, fields }: MoreProps) => (
  <Fold className="card" title="More training options" reason={wrongIn(wrong, 'graft', fields)}>
    <SchemaForm
      prefix="graft"
      fields={fields}
      values={graft}
      wrong={wrong}
      change={(name, value) => change((now) => ({ graft: { ...now.graft, [name]: value } }))}
    />
  </Fold>
);

interface CheckProps {
  readonly preview: Preview;
  /** Error of Submit. It is more specific than that of the preview. */
  readonly error: Error | null;
  readonly busy: boolean;
  readonly tryMethods: () => void;
}

/** Builds a sweep of several methods on the same data, each with its own default options and learning rate. */
function methodsOf({ peft: _, graft, ...job }: Readonly<Record<string, unknown>>): object {
  const { learning_rate: __, ...options } = (graft ?? {}) as Readonly<Record<string, unknown>>;
  return { ...job, graft: options, search: { algorithm: 'asha', preset: 'methods' } };
}

function Check({ preview, error, busy, tryMethods }: CheckProps) {
  return (
    <aside>
      <StepHead number={4} name="Check" />
      <JobPlan {...preview} refused={error ? null : preview.refused} />
      <Failure error={error} />
      <LimitsNear />
      <button className="main wide" disabled={busy}>
        {busy ? 'Submitting…' : 'Submit'}
      </button>
      <button type="button" className="wide" disabled={busy} onClick={tryMethods}>
        Try several methods
      </button>
    </aside>
  );
}
