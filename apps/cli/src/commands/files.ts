import type { FileObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line.js';
import { saveFile } from '../save-file.js';
import { ago, bytes, table } from '../terminal.js';

export function addFiles(program: Command): void {
  const files = program.command('files').description('training data and results');
  files
    .command('list', { isDefault: true })
    .description('list files, newest first')
    .option('-n, --limit <number>', 'how many', '50')
    .action(async (options: { limit: string }, command: Command) => {
      const { out, api } = callOf(command);
      const all = await api().all<FileObject>('/files', Number(options.limit) || 50);
      if (out.json) return out.value(all);
      if (all.length === 0) return out.line('no files yet: graft files upload data.jsonl');
      out.line(table(['FILE', 'NAME', 'SIZE', 'PURPOSE', 'STATUS', 'AGE'], all.map(row)));
    });
  files
    .command('upload')
    .argument('<path...>')
    .option('--purpose <purpose>', 'what it is for', 'fine-tune')
    .action(async (paths: string[], options: { purpose: string }, command: Command) => {
      const { out, api } = callOf(command);
      for (const path of paths) {
        const file = await api().upload(path, options.purpose);
        if (out.json) out.value(file);
        else
          out.line(
            `${file.id} ${file.filename} ${bytes(file.bytes)} ${file.status}${file.status_details ? `: ${file.status_details}` : ''}`,
          );
      }
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

const row = (file: FileObject): string[] => [
  file.id,
  file.filename,
  bytes(file.bytes),
  file.purpose,
  file.status,
  ago(file.created_at),
];

const safeName = (name: string): string => name.replaceAll(/[/\\]/g, '_').replace(/^\.+/, '_');
