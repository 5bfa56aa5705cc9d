import type { JobWarning } from '@graft/contracts';
import type { File } from '../database/entities/storage.js';

/** The one task that fits a table whose columns somebody named; null where there are several, or nobody did. */
export function onlyTaskOf({ report }: Pick<File, 'report'>): string | null {
  const fitting = (report?.tasks ?? []).filter(({ fits }) => fits);
  const [only] = fitting;
  return report?.columns && only && fitting.length === 1 ? only.task : null;
}

export const takenTask = ({ id, filename }: File, task: string): JobWarning => ({
  code: 'task_of_file',
  message: `graft.task was left out: the job trains ${task}, the only task that ${filename} (${id}) fits with the columns that were named for it.`,
  step: null,
});

/** Labels of a table that were left out, of each file that a job learns from or is measured on. */
export const tableWarnings = (files: readonly (File | null)[]): JobWarning[] => {
  const said = files.flatMap((file) =>
    file?.report?.label_warning ? [`${file.filename}: ${file.report.label_warning}`] : [],
  );
  return said.length > 0 ? [{ code: 'labels_left_out', message: said.join(' '), step: null }] : [];
};
