import type { FileObject } from '@graft/contracts';
import type { Command } from 'commander';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line.js';
import { saveFile } from '../save-file.js';
import { wholeNumber } from '../numbers.js';
import { ago, bytes, printable, table } from '../terminal.js';

export function addFiles(program: Command): void {
  const files = program.command('files').description('training data and results');
  files
    .command('list', { isDefault: true })
    .description('list files, newest first')
    .option('-n, --limit <number>', 'how many', wholeNumber, 50)
    .action(async (options: { limit: number }, command: Command) => {
      const { out, api } = callOf(command);
      const all = await api().all<FileObject>('/files', options.limit);
      if (out.json) return out.value(all);
      if (all.length === 0) return out.line('no files yet: graft files upload data.jsonl');
      out.line(table(['FILE', 'NAME', 'SIZE', 'PURPOSE', 'STATUS', 'AGE'], all.map(row)));
    });
  files
    .command('upload')
    .description('upload files; exits 1 when one cannot be used for training')
    .argument('<path...>')
    .option('--purpose <purpose>', 'what it is for', 'fine-tune')
    .action(async (paths: string[], options: { purpose: string }, command: Command) => {
      const { out, api } = callOf(command);
      const unusable: string[] = [];
      for (const path of paths) {
        const file = await api().upload(path, options.purpose);
        if (out.json) out.value(file);
        else out.line(`${file.id} ${printable(file.filename)} ${bytes(file.bytes)} ${file.status}`);
        if (file.status === 'error') unusable.push(problemsOf(file));
        else if (file.status_details) out.note(printable(file.status_details));
      }
      if (unusable.length > 0) throw new CliError(unusable.join('\n'));
    });
  files
    .command('get')
    .description('save a file; "-o -" prints it')
    .argument('<file>')
    .option('-o, --out <path>', 'where to; default its own name here')
    .action(async (id: string, options: { out?: string }, command: Command) => {
      const { out, api } = callOf(command);
      const file = await api().get<FileObject>(`/files/${encodeURIComponent(id)}`);
      const path = await saveFile(api(), file, options.out ?? safeName(file.filename));
      if (path !== null) out.note(`saved ${path} (${bytes(file.bytes)})`);
    });
  files
    .command('delete')
    .description('delete files for good')
    .argument('<file...>')
    .action(async (ids: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const id of ids) {
        const answer = await api().delete<unknown>(`/files/${encodeURIComponent(id)}`);
        if (out.json) out.value(answer);
        else out.line(`${id} deleted`);
      }
    });
}

/** Why a file cannot be used, a line for each bad line. */
export const problemsOf = (file: FileObject): string =>
  [
    `${printable(file.filename)} cannot be used:`,
    ...printable(file.status_details ?? 'no reason was given').split(
      /; (?=line \d+: |and \d+ more )/,
    ),
  ].join('\n  ');

const row = (file: FileObject): string[] => [
  file.id,
  file.filename,
  bytes(file.bytes),
  file.purpose,
  file.status,
  ago(file.created_at),
];

const safeName = (name: string): string => name.replaceAll(/[/\\]/g, '_').replace(/^\.+/, '_');
