import type { Catalog, FileObject, JobObject, ModelObject, WorkerObject } from '@graft/contracts';
import { useMemo, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { FocusRequests } from '../forms/answer.js';
import { changed, type Change } from '../forms/change.js';
import { Button } from '../ui/controls/button.js';
import { Callout } from '../ui/feedback/callout.js';
import { Failure } from '../ui/feedback/failure.js';
import { Page } from '../ui/page.js';
import { DataSection } from './sections/data-section.js';
import { GoalSection } from './sections/goal-section.js';
import { heldOut } from './held-out.js';
import { defaultRate, type Draft } from './job-draft.js';
import { JobRail } from './job-rail.js';
import { LengthSection } from './sections/length-section.js';
import type { Configuration } from './method-list.js';
import { MethodSection } from './sections/method-section.js';
import { ModelSection } from './sections/model-section.js';
import { MoreSection, NameSection, optionFields } from './sections/more-sections.js';
import { SweepForm } from './sweep/sweep-form.js';
import { methodsOf, sweepOf } from './sweep/sweep-draft.js';
import { useChosen, useDraft, usePlan, useSubmission } from './use-form.js';

interface FormProps {
  readonly catalog: Catalog;
  readonly models: readonly ModelObject[];
  readonly files: readonly FileObject[];
  /** Pools that the project may use. */
  readonly pools: readonly string[];
  readonly workers: readonly WorkerObject[];
  /** Recent jobs, newest first. */
  readonly jobs: readonly JobObject[];
  readonly start: Draft;
  /** Discards the kept draft. Null if the form did not start with one. */
  readonly startOver: (() => void) | null;
  /** Error that prevented the form from being prefilled. */
  readonly unfounded: Error | null;
  readonly filesChanged: () => void;
}

/** The form for a new job. Its sections answer themselves from the file. */
export function JobForm(props: FormProps) {
  const { method, task } = useChosen(props.start, props);
  if (!method || !task) return <main>This build has no training method.</main>;
  return <ReadyForm {...props} fallback={{ method, task }} />;
}

interface Fallback {
  readonly method: Configuration;
  readonly task: Catalog['tasks'][number];
}

function ReadyForm(props: FormProps & { readonly fallback: Fallback }) {
  const { catalog, files, pools, start, fallback } = props;
  const [draft, type] = useDraft(start);
  const found = useChosen(draft, props);
  const { file, all, bases, base, subject, situation } = found;
  const { method = fallback.method, task = fallback.task } = found;
  const fields = useMemo(
    () => optionFields(catalog, pools, start.graft['pool']),
    [catalog, pools, start],
  );
  const planned = usePlan(draft, { method, task, file, base }, catalog);
  const { body, preview, isComplete, standard } = planned;
  const sending = useSubmission(planned.problems, preview, draft.sweep.values);
  const change: Change<Draft> = (part) => {
    sending.forgetError();
    type(part);
  };
  const { busy, focus, focusRequests } = sending;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    sending.send('/jobs/$id', () => api.createJob(body));
  };
  const sweep = (made: () => object) => sending.send('/sweeps/$id', () => api.createSweep(made()));
  const state = { draft, change, problems: sending.problems };
  const { plan } = preview;
  const options = (plan?.graft.task_options ?? {}) as Readonly<Record<string, unknown>>;
  const held = heldOut(draft, file);
  return (
    <Page title="New job">
      {props.startOver && <SavedDraftNotice startOver={props.startOver} />}
      <Start from={start.graft['init_adapter']} unfounded={props.unfounded} />
      <FocusRequests value={focusRequests}>
        <form className="new-job" onSubmit={submit} noValidate>
          <div className="job-sections">
            <DataSection {...state} files={files} filesChanged={props.filesChanged} />
            <GoalSection {...state} {...{ catalog, subject }} chosen={task} automatic={options} />
            <ModelSection {...state} {...{ bases, base, task, situation, plan }} />
            <MethodSection {...state} {...{ all, task, plan }} chosen={method} />
            <LengthSection
              {...state}
              {...{ preview, standard }}
              defaultRate={defaultRate(method.method, task)}
              heldOut={held.isHeld ? held.share : null}
            />
            <NameSection {...state} />
            <MoreSection
              {...state}
              {...{ fields, task, file, plan }}
              offered={start.integrations}
            />
            <SweepForm
              {...{ catalog, busy }}
              problems={state.problems}
              chosen={{ method: method.method, task }}
              draft={draft.sweep}
              change={(part) => change((now) => ({ sweep: changed(now.sweep, part) }))}
              start={(search) => sweep(() => sweepOf(body, search, catalog.methods))}
            />
          </div>
          <JobRail
            {...{ preview, body, busy, isComplete, focus }}
            problems={state.problems}
            tryMethods={() => sweep(() => methodsOf(body))}
          />
        </form>
      </FocusRequests>
    </Page>
  );
}

const SavedDraftNotice = ({ startOver }: { startOver: () => void }) => (
  <Callout
    isLive
    action={
      <Button size="s" onClick={startOver}>
        Start over
      </Button>
    }
  >
    Your draft was restored.
  </Callout>
);

/** Source of the job if it does not start from its base model alone, or the error that prevented prefilling. */
function Start({ from, unfounded }: { from: string | undefined; unfounded: Error | null }) {
  if (!from) return <Failure error={unfounded} />;
  return (
    <Callout isLive>
      Continues from <code className="break">{from}</code>. Method options that you leave empty are
      taken from it.
    </Callout>
  );
}
