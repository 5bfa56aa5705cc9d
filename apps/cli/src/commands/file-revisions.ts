import type { FileObject, FileRevisionObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findFile } from '../find/find-file.js';
import { findJobId } from '../find/find-job.js';
import { ago, printable, table } from '../output/terminal.js';
import { collect } from '../requests/job-body.js';
import { revisedRecords, type RecordFlags } from '../requests/revised-records.js';
import { GRAFT } from '../called.js';

interface ReviseOptions extends RecordFlags {
  readonly holdOutAs?: string;
  readonly name?: string;
}

/** Commands for new versions of training files. */
export function addFileRevisions(files: Command): void {
  files
    .command('revise')
    .description('Fix or remove rows in a new version of a training file')
    .argument('<file>', 'id, prefix of the id, or name')
    .option('--set <line.field=value>', 'set a field of the row in a line (repeatable)', collect)
    .option('--record <line=json>', 'replace the whole row (repeatable)', collect)
    .option('--remove <line...>', 'remove these rows')
    .option(
      '--hold-out-as <job>',
      'write the rows that this job held out for validation to a second file',
    )
    .option('--name <name>', 'name of the new file (default: the old name and the changes)')
    .addHelpText(
      'after',
      `
Lines are those of "graft ledger" and "graft confusion". The original stays.`,
    )
    .action(async (name: string, options: ReviseOptions, command: Command) => {
      const { out, api } = callOf(command);
      const file = await findFile(api(), name);
      const { holdOutAs, name: filename } = options;
      const records = await revisedRecords(api(), file, options);
      const job = holdOutAs === undefined ? undefined : await findJobId(api(), holdOutAs);
      const revision = await api().post<FileRevisionObject>(
        `/files/${encodeURIComponent(file.id)}/revisions`,
        { records, ...(job && { hold_out_as: job }), ...(filename && { filename }) },
      );
      if (out.json) return out.value(revision);
      const { file: made, validation_file: validation, held_out_revised: heldOut } = revision;
      for (const one of [made, ...(validation ? [validation] : [])])
        out.line(`${one.id} ${printable(one.filename)}`);
      out.note(`${revision.changed} changed, ${revision.removed} removed; ${file.id} stays`);
      if (heldOut > 0) out.note(`${heldOut} of the rows are held out for validation`);
      const valid = validation ? ` --valid ${validation.id}` : '';
      out.note(`Train on it: ${GRAFT} submit --model MODEL --train ${made.id}${valid}`);
    });
  files
    .command('revisions')
    .description('List the versions of a file that fix or remove its rows')
    .argument('<file>', 'id, prefix of the id, or name')
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const { id } = await findFile(api(), name);
      const all = await api().all<FileObject>('/files?purpose=fine-tune');
      const found = all.filter(({ graft }) => graft?.revises?.file === id);
      if (out.json) return out.value(found);
      if (found.length === 0)
        return out.line(`no revisions yet: ${GRAFT} files revise ${id} --set LINE.FIELD=VALUE`);
      const rows = found.map((file) => row(file, out.id(file.id)));
      out.line(table(['FILE', 'NAME', 'CHANGED', 'REMOVED', 'AGE'], rows, { width: out.width }));
    });
}

const row = ({ filename, graft, created_at }: FileObject, id: string): string[] => [
  id,
  printable(filename),
  linesText(graft?.revises?.changed_lines),
  linesText(graft?.revises?.removed_lines),
  ago(created_at),
];

const linesText = (lines: readonly number[] = []): string =>
  lines.length === 0 ? '–' : `line${lines.length === 1 ? '' : 's'} ${lines.join(', ')}`;
