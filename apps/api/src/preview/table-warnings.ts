import type { CreateJob, JobWarning } from '@graft/contracts';
import { usualTask } from '../catalog/plugins.js';
import type { File } from '../database/entities/storage.js';

/** The task of a job whose request names none, where it is not the usual task, and the warning that says so. */
interface Taken {
  readonly task: string;
  readonly warning: JobWarning;
}

/**
 * Chooses the only task that a table fits, if the user named the table's columns. Returns null where the request names a
 * task or a method, where the usual task or several tasks fit, and where no columns were named.
 */
export function takenTask(
  { graft, method }: CreateJob,
  { id, filename, report }: File,
  modelType: string | undefined,
): Taken | null {
  if (graft?.task !== undefined || method || !report?.columns) return null;
  const [only, ...others] = (report.tasks ?? []).filter(({ fits }) => fits);
  if (!only || others.length > 0 || only.task === usualTask(modelType)) return null;
  const { task } = only;
  const named = Object.entries(report.columns).map(([field, column]) => `${field} is ${column}`);
  const message = `graft.task is not set: the job trains ${task}, the only task that fits ${filename} (${id}) with its named columns (${named.join(', ')}).`;
  return { task, warning: { code: 'task_of_file', message, step: null } };
}

/** Warns of labels that were left out of tables, for each training and validation file of a job. */
export const tableWarnings = (files: readonly (File | null)[]): JobWarning[] => {
  const said = files.flatMap((file) =>
    file?.report?.label_warning ? [`${file.filename}: ${file.report.label_warning}`] : [],
  );
  return said.length > 0 ? [{ code: 'labels_left_out', message: said.join(' '), step: null }] : [];
};
