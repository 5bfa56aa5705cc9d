import type { JobPreviewObject } from '@graft/contracts';
import { roughly } from '@graft/contracts/plan-line';
import { useState } from 'react';
import { api } from '../api/api.js';
import { Answer } from '../forms/answer.js';
import { changed } from '../forms/change.js';
import { count } from '../format.js';
import { workersOf } from '../new-job/base-choice.js';
import { DataSection } from '../new-job/sections/data-section.js';
import { GoalSection } from '../new-job/sections/goal-section.js';
import { heldOut } from '../new-job/held-out.js';
import { BLANK } from '../new-job/job-draft.js';
import { stepsWithin, TRIED_METHODS } from '../new-job/method-budget.js';
import { ModelSection } from '../new-job/sections/model-section.js';
import { methodsOf } from '../new-job/sweep/sweep-draft.js';
import { useChosen, usePlan, useSubmission } from '../new-job/use-form.js';
import { useSources } from '../new-job/use-sources.js';
import { Button } from '../ui/controls/button.js';
import { Segmented } from '../ui/controls/segmented.js';
import { Failure } from '../ui/feedback/failure.js';
import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';

const BUDGETS = ['2', '5', '15'] as const;
type Minutes = (typeof BUDGETS)[number];

/** Entry point for users who do not know which method to choose: a file, a base model and a time. */
export function FindPage() {
  const { error, sources } = useSources();
  return (
    <Page title="Find a method" width="form">
      <p className="page-subtitle">
        Drop your data. Graft tries {TRIED_METHODS} methods on it, measures them on examples that
        were held out, and says which one to use.
      </p>
      <Failure error={error} />
      {sources ? <FindForm {...sources} /> : !error && <Skeleton height={320} />}
    </Page>
  );
}

type Sources = NonNullable<ReturnType<typeof useSources>['sources']>;

/** Length and size of the sweep: "7 methods · 42 steps each · at most about 5 min". */
function sweepText(plan: JobPreviewObject, steps: number | null, slots: number): string {
  const each = steps ?? plan.steps;
  const seconds =
    plan.seconds === null || plan.steps === 0
      ? null
      : (TRIED_METHODS * each * (plan.seconds / plan.steps)) / Math.max(1, slots);
  return [
    `${count(plan.examples)} examples`,
    ...(plan.validation ? [`${count(plan.validation.examples)} held out`] : []),
    `up to ${TRIED_METHODS} methods`,
    `${count(each)} steps each`,
    seconds === null ? 'no time estimate yet' : `at most about ${roughly(seconds)}`,
  ].join(' · ');
}

function FindForm(sources: Sources) {
  const { catalog, files, filesChanged, workers } = sources;
  const [draft, setDraft] = useState(BLANK);
  const [minutes, setMinutes] = useState<Minutes>('5');
  const { file, bases, base, subject, situation, ...found } = useChosen(draft, sources);
  const method = found.method ?? (found.all[0] as NonNullable<typeof found.method>);
  const task = found.task ?? (catalog.tasks[0] as NonNullable<typeof found.task>);
  const { body, preview, isComplete, problems } = usePlan(draft, { method, task, file, base }, catalog); // prettier-ignore
  const { busy, send, ...sending } = useSubmission(problems, preview);
  const { plan } = preview;
  const slots = workersOf(workers, situation.pool).reduce((sum, one) => sum + one.slots, 0);
  const steps = plan && stepsWithin({ minutes: Number(minutes), slots, ...plan });
  const state = {
    draft,
    problems: sending.problems,
    change: (part: Parameters<typeof changed<typeof draft>>[1]) => {
      sending.forgetError();
      setDraft((now) => changed(now, part));
    },
  };
  const start = () =>
    send('/sweeps/$id', () => {
      const job = methodsOf(body) as { readonly graft: object };
      return api.createSweep({
        ...job,
        graft: { ...job.graft, ...(steps !== null && { max_steps: steps }) },
      });
    });
  return (
    <>
      <div className="job-sections">
        <DataSection {...state} files={files} filesChanged={filesChanged} />
        <GoalSection {...state} {...{ catalog, subject }} chosen={task} automatic={{}} />
        <ModelSection {...state} {...{ bases, base, task, situation, plan }} />
        <Answer
          title="Time"
          more={null}
          isOpen={false}
          setOpen={() => undefined}
          line={
            <Segmented
              label="Time budget"
              value={minutes}
              choices={BUDGETS.map((n) => [n, `${n} min`] as const)}
              change={setMinutes}
            />
          }
        />
      </div>
      <div className="find-foot">
        <p role="status" className="plan-line">
          {plan
            ? sweepText(plan, steps, slots)
            : preview.asking
              ? 'Analyzing the data…'
              : 'Choose your data to see what will run.'}
        </p>
        {file && !heldOut(draft, file).isHeld && draft.validation_file === '' && (
          <p className="faint">A tenth of the examples is held out to compare the methods.</p>
        )}
        {sending.problems.map(({ label, text }) => (
          <p key={text} role="alert" className="bad">
            {label && `${label}: `}
            {text}
          </p>
        ))}
        <Button variant="primary" busy={busy} disabled={!isComplete && busy} onClick={start}>
          Find the best method
        </Button>
      </div>
    </>
  );
}
