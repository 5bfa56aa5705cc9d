import type { Catalog, FileObject, JobObject } from '@graft/contracts';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { BLANK, draftOf, type Draft } from '../new-job/job-draft.js';
import { FormSkeleton } from '../new-job/form-skeleton.js';
import { JobForm } from '../new-job/job-form.js';
import { forgetDraft, savedDraft } from '../new-job/saved-draft.js';
import { useSources } from '../new-job/use-sources.js';
import { Failure } from '../ui/feedback/failure.js';
import { Page } from '../ui/page.js';

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
  const { error, sources } = useSources();
  const source = useLoaded(['job-to-begin-as', from, checkpoint], async () => {
    if (!from) return null;
    const job = await api.job(from);
    const base = checkpoint ? ((await api.model(checkpoint)).graft?.base ?? job.model) : null;
    return { job, base };
  });
  const [saved, setSaved] = useState(() =>
    savedDraft((from ?? checkpoint ?? file ?? model) !== null),
  );
  const ready = !from || source.value || source.error;
  if (!sources || !ready) {
    return (
      <Page title="New job">
        <Failure error={error} />
        {!error && <FormSkeleton />}
      </Page>
    );
  }
  const given = source.value
    ? draftFrom(source.value, checkpoint, sources.catalog, sources.files)
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
      {...sources}
      start={saved ?? given}
      unfounded={source.error}
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
  const draft = draftOf(
    job,
    catalog,
    files.find(({ id }) => id === job.training_file),
  );
  if (checkpoint === null || base === null) return draft;
  const graft = { ...draft.graft, init_adapter: checkpoint };
  return { ...draft, model: base, peft: {}, graft };
}
