import type { CreateJob, JobWarning } from '@graft/contracts';
import { usualTask } from '../catalog/plugins.js';
import type { File } from '../database/entities/storage.js';

/** Task of a job whose request names none, if it is not the usual task, and the warning about it. */
interface ChosenTask {
  readonly task: string;
  readonly warning: JobWarning;
}

/**
 * Chooses the only task that fits a table whose columns the user named. Returns null if the request names a
 * task or a method, if the usual task or several tasks fit, or if no columns were named.
 */
export function chosenTask(
  { graft, method }: CreateJob,
  { id, filename, report }: File,
  modelType: string | undefined,
): ChosenTask | null {
  if (graft?.task !== undefined || method || !report?.columns) return null;
  const [only, ...others] = (report.tasks ?? []).filter(({ fits }) => fits);
  if (!only || others.length > 0 || only.task === usualTask(modelType)) return null;
  const { task } = only;
  const named = Object.entries(report.columns).map(([field, column]) => `${field} is ${column}`);
  const message = `graft.task is not set: the job trains ${task}, the only task that fits ${filename} (${id}) with its named columns (${named.join(', ')}).`;
  return { task, warning: { code: 'task_of_file', message, step: null } };
}

/** Warnings about labels that were omitted from tables, for the training and validation files of a job. */
export const tableWarnings = (files: readonly (File | null)[]): JobWarning[] => {
  const messages = files.flatMap((file) =>
    file?.report?.label_warning ? [`${file.filename}: ${file.report.label_warning}`] : [],
  );
  return messages.length > 0
    ? [{ code: 'labels_left_out', message: messages.join(' '), step: null }]
    : [];
};
