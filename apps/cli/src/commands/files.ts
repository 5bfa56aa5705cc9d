import type { FileObject } from '@graft/contracts';
import { Option, type Command } from 'commander';
import type { Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { findFile, findFileId } from '../find/find-file.js';
import { addFileRevisions } from './file-revisions.js';
import { contentsOf, fileCard, problemsOf } from '../output/file-card.js';
import { saveFile } from '../client/save-file.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { ago, bytes, printable, table } from '../output/terminal.js';
import { MAP_HELP, mapped, uploaded, type Mapping } from '../client/upload.js';
import { GRAFT } from '../called.js';

const FILE_HELP = 'id, prefix of the id, or name';

export function addFiles(program: Command): void {
  const files = program.command('files').description('Manage training data and result files');
  files
    .command('list', { isDefault: true })
    .description('List training data, newest first')
    .option('-a, --all', 'include result files of jobs')
    .option('--unusable', 'only files that cannot be used for training')
    .option('-n, --limit <number>', 'maximum number to list', positiveInteger, 50)
    .action(async (options: ListOptions, command: Command) => {
      const { out, api } = callOf(command);
      const found = await listed(api(), options);
      if (out.json) return out.value(found);
      if (found.length > 0)
        return out.line(
          table(
            ['FILE', 'NAME', 'SIZE', 'PURPOSE', 'STATUS', 'AGE'],
            found.map((file) => row(file, out.id(file.id))),
            { width: out.width, details: found.map(reasonOf), optional: ['PURPOSE', 'AGE'] },
          ),
        );
      out.line(
        options.unusable ? 'no unusable files' : `no files yet: ${GRAFT} files upload data.jsonl`,
      );
    });
  files
    .command('show')
    .description('Show what a file contains, its problems and matching tasks')
    .argument('<file>', FILE_HELP)
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const file = await findFile(api(), name);
      if (out.json) out.value(file);
      else out.line(fileCard(file));
    });
  addUpload(files);
  addFileRevisions(files);
  files
    .command('get')
    .description('Download a file (-o - writes to stdout)')
    .argument('<file>', FILE_HELP)
    .option('-o, --out <path>', 'file to write (default: its name)')
    .action(async (name: string, options: { out?: string }, command: Command) => {
      const { out, api } = callOf(command);
      const file = await findFile(api(), name);
      const path = await saveFile(api(), file, options.out ?? safeName(file.filename));
      if (path !== null) out.note(`saved ${path} (${bytes(file.bytes)})`);
    });
  files
    .command('delete')
    .description('Delete files permanently')
    .argument('[file...]', FILE_HELP)
    .option('--unusable', 'all files that cannot be used for training')
    .action(async (names: string[], options: { unusable?: boolean }, command: Command) => {
      const { out, api } = callOf(command);
      const unusable = options.unusable ? await listed(api(), { unusable: true }) : [];
      if (names.length === 0 && !options.unusable)
        throw new CliError('specify the files to delete, or pass --unusable', EXIT.usage);
      const named: string[] = [];
      for (const name of names) named.push(await findFileId(api(), name));
      for (const id of [...named, ...unusable.map((file) => file.id)]) {
        const answer = await api().delete<unknown>(`/files/${encodeURIComponent(id)}`);
        if (out.json) out.value(answer);
        else out.line(`${id} deleted`);
      }
    });
}

function addUpload(files: Command): void {
  files
    .command('upload')
    .description('Upload training data; exits with 1 if a file is unusable')
    .argument(
      '<path...>',
      'JSON Lines, JSON, CSV, Parquet, Arrow, a folder of Dataset.save_to_disk, or images or audio in a .zip, .tar or folder (one folder per label, or metadata.csv)',
    )
    .addOption(new Option('--map <part=column>', MAP_HELP).argParser(mapped).default({}, 'none'))
    .action(async (paths: string[], options: { map: Mapping }, command: Command) => {
      const { out, api } = callOf(command);
      const unusable: string[] = [];
      for (const path of paths) {
        const file = await uploaded(api(), path, options.map);
        if (out.json) out.value(file);
        else out.line(lineOf(file));
        if (file.status === 'error') unusable.push(problemsOf(file));
        else for (const warning of file.graft?.warnings ?? []) out.note(printable(warning));
      }
      if (unusable.length > 0) throw new CliError(unusable.join('\n'));
    });
}

interface ListOptions {
  readonly all?: boolean;
  readonly unusable?: boolean;
  readonly limit?: number;
}

async function listed(api: Api, { all, unusable, limit }: ListOptions): Promise<FileObject[]> {
  const path = all ? '/files' : '/files?purpose=fine-tune';
  if (!unusable) return api.all<FileObject>(path, limit);
  const files = await api.all<FileObject>(path);
  return files.filter(({ status }) => status === 'error').slice(0, limit);
}

const row = (file: FileObject, id: string): string[] => [
  id,
  printable(file.filename),
  bytes(file.bytes),
  file.purpose,
  file.status === 'error' ? 'unusable' : file.status,
  ago(file.created_at),
];

/** Reason why a file is unusable, for the line below its row. */
const reasonOf = (file: FileObject): string | null =>
  file.status === 'error' ? printable(file.status_details ?? 'no reason given') : null;

const lineOf = (file: FileObject): string =>
  [
    file.id,
    printable(file.filename),
    bytes(file.bytes),
    file.status,
    ...(file.graft ? [`(${contentsOf(file.graft)})`] : []),
  ].join(' ');

const safeName = (name: string): string => name.replaceAll(/[/\\]/g, '_').replace(/^\.+/, '_');
