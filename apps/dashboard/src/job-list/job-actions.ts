import type { JobObject } from '@graft/contracts';
import { useState } from 'react';
import { api } from '../api/api.js';
import { moment } from '../format.js';
import { isOver, jobName } from '../job/job-text.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { useUndo } from '../ui/overlays/toasts.js';

export interface JobActions {
  readonly archive: (jobs: readonly JobObject[], archived: boolean) => void;
  /** Deletes the finished ones of the jobs, after a confirmation. */
  readonly remove: (jobs: readonly JobObject[], done?: () => void) => void;
  /** Cancels the unfinished ones of the jobs, after a confirmation. */
  readonly cancel: (jobs: readonly JobObject[], done?: () => void) => void;
  readonly pause: (job: JobObject) => void;
  readonly resume: (job: JobObject) => void;
  readonly restore: (jobs: readonly JobObject[]) => void;
  /** Adds tags to the jobs' own. */
  readonly tag: (jobs: readonly JobObject[], tags: readonly string[]) => void;
  readonly error: Error | null;
}

/** Returns "2 jobs", or the name of a single job. */
const named = (jobs: readonly JobObject[]): string =>
  jobs.length === 1 ? jobName(jobs[0]!) : `${jobs.length} jobs`;

/** Returns the actions on one or several jobs. Each shows a toast with an undo button. */
export function useJobActions(changed: (job: JobObject) => void): JobActions {
  const offerUndo = useUndo();
  const [error, setError] = useState<Error | null>(null);

  /**
   * Applies an action to each job in turn. Failures are passed to `refused`; the other jobs are
   * still changed.
   */
  const each = async (
    jobs: readonly JobObject[],
    work: (job: JobObject) => Promise<JobObject>,
    refused: (error: Error) => void = setError,
  ): Promise<JobObject[]> => {
    const through: JobObject[] = [];
    setError(null);
    for (const job of jobs)
      await work(job).then((answer) => {
        changed(answer);
        through.push(answer);
      }, refused);
    return through;
  };
  const offer = (
    through: readonly JobObject[],
    text: string,
    back: (job: JobObject) => Promise<JobObject>,
  ) => {
    if (through.length === 0) return;
    offerUndo(text, async () => {
      const refusals: Error[] = [];
      await each(through, back, (error) => refusals.push(error));
      if (refusals[0]) throw refusals[0];
    });
  };
  const archive = async (jobs: readonly JobObject[], archived: boolean) => {
    const set = (to: boolean) => (job: JobObject) => api.changeJob(job.id, { archived: to });
    const through = await each(jobs, set(archived));
    offer(through, `${archived ? 'Archived' : 'Unarchived'} ${named(through)}.`, set(!archived));
  };
  const restore = (job: JobObject) => api.restoreJob(job.id);
  const deleted = async (jobs: readonly JobObject[]) => {
    const through = await each(jobs, async (job) => {
      const { graft } = await api.deleteJob(job.id);
      return { ...job, graft: { ...job.graft, ...graft } };
    });
    const until = through[0]?.graft.restorable_until;
    const long = until ? `; it can be restored until ${moment(until)}` : '';
    offer(through, `Deleted ${named(through)}${long}.`, restore);
  };
  const tag = async (jobs: readonly JobObject[], tags: readonly string[]) => {
    const before = new Map(jobs.map((job) => [job.id, job.graft.tags]));
    const through = await each(jobs, (job) =>
      api.changeJob(job.id, { tags: [...job.graft.tags, ...tags] }),
    );
    offer(through, `Tagged ${named(through)}.`, (job) =>
      api.changeJob(job.id, { tags: [...(before.get(job.id) ?? [])] }),
    );
  };
  return {
    archive: (jobs, archived) => void archive(jobs, archived),
    ...useQuestions(
      (jobs) => void deleted(jobs),
      (jobs) => void each(jobs, (job) => api.cancel(job.id)),
    ),
    pause: (job) => void each([job], ({ id }) => api.pause(id)),
    resume: (job) => void each([job], ({ id }) => api.resume(id)),
    restore: (jobs) => void each(jobs, restore),
    tag: (jobs, tags) => void tag(jobs, tags),
    error,
  };
}

/** Returns the actions that ask first: they lose or stop something. */
function useQuestions(
  deleteAll: (jobs: readonly JobObject[]) => void,
  cancelAll: (jobs: readonly JobObject[]) => void,
): Pick<JobActions, 'remove' | 'cancel'> {
  const confirm = useConfirm();
  const remove = (jobs: readonly JobObject[], done?: () => void) => {
    const over = jobs.filter(isOver);
    const isOne = over.length === 1;
    confirm(
      isOne
        ? `Delete ${named(over)}? Its model is deleted, too. You can restore it for a few days.`
        : `Delete ${over.length} jobs? Their models are deleted, too. You can restore them for a few days.`,
      isOne ? 'Delete job' : `Delete ${over.length} jobs`,
      () => {
        deleteAll(over);
        done?.();
      },
    );
  };
  const cancel = (jobs: readonly JobObject[], done?: () => void) => {
    const open = jobs.filter((job) => !isOver(job));
    confirm(
      `Cancel ${named(open)}? Checkpoints are kept.`,
      open.length === 1 ? 'Cancel job' : `Cancel ${open.length} jobs`,
      () => {
        cancelAll(open);
        done?.();
      },
    );
  };
  return { remove, cancel };
}
