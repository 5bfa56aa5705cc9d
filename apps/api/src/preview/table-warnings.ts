import type { CreateJob, JobWarning } from '@graft/contracts';
import { usualTask } from '../catalog/plugins.js';
import type { File } from '../database/entities/storage.js';

/** What a job trains that names no task, where that is another than the usual one. */
interface Taken {
  readonly task: string;
  readonly warning: JobWarning;
}

/**
 * The only task that a table fits whose columns were named for it: whoever named them said what is learnt. Null where
 * the request names a task or a method, where the usual task fits or several do, and where no columns were named.
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
  const message = `graft.task was left out: the job trains ${task}, the only task that ${filename} (${id}) fits, whose columns were named (${named.join(', ')}).`;
  return { task, warning: { code: 'task_of_file', message, step: null } };
}

/** Labels of a table that were left out, of each file that a job learns from or is measured on. */
export const tableWarnings = (files: readonly (File | null)[]): JobWarning[] => {
  const said = files.flatMap((file) =>
    file?.report?.label_warning ? [`${file.filename}: ${file.report.label_warning}`] : [],
  );
  return said.length > 0 ? [{ code: 'labels_left_out', message: said.join(' '), step: null }] : [];
};
