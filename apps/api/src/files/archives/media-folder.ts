// The layout of Hugging Face's ImageFolder and AudioFolder: metadata that names each file and what is learnt of it, or one
// folder a class; train/, test/ and the like around it are splits.
import { isNamedMedia } from '@graft/contracts';
import type { ArchiveEntry } from './archive-entries.js';
import { nameProblem, plainName } from './archive-names.js';
import { shownName, type ArchiveProblems } from './archive-problems.js';
import { isMetadata, metadataNoun, metadataRows, type DescribedFiles } from './metadata-rows.js';
import { Problems } from '../rows/problems.js';
import type { Row } from '../rows/rows.js';

export interface MediaFile {
  readonly name: string;
  readonly entry: ArchiveEntry;
  /** Its key in the record; null: by what it is, image or audio. */
  readonly key: string | null;
}

/** A picture or a sound and what is to be learnt of it; or some that belong together. */
export interface MediaExample {
  readonly files: readonly MediaFile[];
  readonly answers: Row;
}

export interface MediaFolder {
  readonly examples: readonly MediaExample[];
  /** What people should know of it, a sentence each. */
  readonly notes: readonly string[];
}

type Files = ReadonlyMap<string, ArchiveEntry>;

const TRAIN = ['train', 'training'];
const SPLITS = [...TRAIN, 'validation', 'valid', 'val', 'dev', 'test', 'testing', 'eval'];
const NO_LABELS =
  'there is nothing to learn of its files: expected one folder a class, or a metadata.csv or metadata.jsonl with "file_name" and "label", "labels" or "text", or with "anchor_file_name" and "positive_file_name"';

/** What the archive holds, in the order of its metadata, else of its names. */
export async function mediaFolder(files: Files, problems: ArchiveProblems): Promise<MediaFolder> {
  const names = [...files.keys()].filter((name) => !isHidden(name));
  const tables = names.filter(isMetadata).sort();
  const media = names.filter(isNamedMedia).sort();
  const split = splitOf(media);
  const isTaken = (name: string): boolean => split === null || name.startsWith(split.folder);
  const taken = media.filter(isTaken);
  const applying = tables.filter((name) => isTaken(name) || split?.folder.startsWith(folder(name)));
  for (const name of names)
    if (name.endsWith('metadata.parquet'))
      problems.add(name, 'metadata is read as CSV or JSON Lines: write it as one of these');
  const notes = split === null ? [] : [split.note];
  const described = new Description(files, isTaken, problems);
  for (const name of applying) await described.read(name);
  // what bad rows were to name is not missing
  if (applying.length > 0 && problems.none) described.missing(taken);
  const { examples, ignored } = described;
  const found = applying.length > 0 ? examples : classes(taken, files, problems);
  if (found.length === 0 && problems.none)
    throw new Error('it has no pictures and no sounds: expected files such as JPEG, PNG or WAV');
  if (ignored.size > 0)
    notes.push(`Columns of the metadata that training does not read: ${few([...ignored])}.`);
  const used = new Set([
    ...media,
    ...tables,
    ...found.flatMap((one) => one.files.map(({ name }) => name)),
  ]);
  const others = [...files.keys()].filter((name) => !used.has(name));
  if (others.length > 0) notes.push(passedOver(others));
  return { examples: found, notes };
}

/** What programs leave beside people's files; Hugging Face's datasets pass over it, too. */
const isHidden = (name: string): boolean => /(^|\/)(\.|__)/.test(name);

const folder = (name: string): string => name.slice(0, name.lastIndexOf('/') + 1);

/** The folder that all of them lie in, with its slash, or ''. */
function commonFolder(names: readonly string[]): string {
  let common = folder(names[0] ?? '');
  while (!names.every((name) => name.startsWith(common))) common = folder(common.slice(0, -1));
  return common;
}

/** The part to train on where the folders are those of splits, and nothing else. */
function splitOf(media: readonly string[]): { folder: string; note: string } | null {
  const root = commonFolder(media);
  const parts = media.map((name) => name.slice(root.length).split('/'));
  const tops = [...new Set(parts.map((part) => (part.length > 1 ? part[0] : '')))] as string[];
  if (tops.length < 2 || !tops.every((top) => SPLITS.includes(top.toLowerCase()))) return null;
  const train = tops.find((top) => TRAIN.includes(top.toLowerCase()));
  if (train === undefined)
    throw new Error(`it has several splits (${few(tops)}) and none is train: send one of them`);
  const others = tops.filter((top) => top !== train);
  const note = `Of the splits in the archive, ${train} was taken; ${few(others)} can be sent as a file for validation.`;
  return { folder: `${root}${train}/`, note };
}

function classes(
  media: readonly string[],
  files: Files,
  problems: ArchiveProblems,
): MediaExample[] {
  const root = commonFolder(media);
  const examples: MediaExample[] = [];
  const loose: string[] = [];
  for (const name of media) {
    const [label, file, ...deeper] = name.slice(root.length).split('/') as [string, ...string[]];
    if (file === undefined) loose.push(name);
    else if (deeper.length > 0)
      problems.add(name, 'it lies deeper than in one folder a class; only metadata can name it');
    else {
      const entry = files.get(name) as ArchiveEntry;
      examples.push({ files: [{ name, entry, key: null }], answers: { label } });
    }
  }
  if (loose.length > 0 && loose.length === media.length) throw new Error(NO_LABELS);
  for (const name of loose) problems.add(name, 'it lies beside the folders of the classes');
  return examples;
}

/** What the tables of metadata say of the files. */
class Description {
  readonly examples: MediaExample[] = [];
  /** Columns that nobody reads. */
  readonly ignored = new Set<string>();
  private readonly named = new Set<string>();

  constructor(
    private readonly files: Files,
    private readonly isTaken: (name: string) => boolean,
    private readonly problems: ArchiveProblems,
  ) {}

  async read(table: string): Promise<void> {
    const wrong = new Problems(metadataNoun(table));
    try {
      const rows = metadataRows(table, this.files.get(table) as ArchiveEntry);
      for await (const [number, row] of rows) {
        const problem = typeof row === 'string' ? row : this.take(folder(table), row);
        if (problem !== null) wrong.add(problem, number);
        if (typeof row !== 'string') for (const key of row.ignored) this.ignored.add(key);
      }
    } catch (error) {
      this.problems.add(table, (error as Error).message);
    }
    for (const sentence of wrong.sentences()) this.problems.add(table, sentence);
  }

  /** Files that no row names. */
  missing(media: readonly string[]): void {
    for (const name of media)
      if (!this.named.has(name)) this.problems.add(name, 'no row of the metadata names it');
  }

  private take(from: string, { names, answers }: DescribedFiles): string | null {
    const files: MediaFile[] = [];
    for (const { key, column, fileName } of names) {
      const unix = fileName.replaceAll('\\', '/');
      const shown = `${column} ${JSON.stringify(shownName(fileName))}`;
      const problem = nameProblem(unix);
      if (problem !== null) return `${shown}: ${problem}`;
      const name = plainName(from + unix);
      const entry = this.files.get(name);
      if (entry === undefined) return `${shown} is not in the archive`;
      // of several rows that tell of one file alone none is right; those of pairs may share it
      if (key === null && this.named.has(name)) return `${shown} is named by an earlier row`;
      files.push({ name, entry, key });
    }
    for (const { name } of files) this.named.add(name);
    const taken = files.filter(({ name }) => this.isTaken(name));
    if (taken.length === files.length) this.examples.push({ files, answers });
    else if (taken.length > 0) return 'its files lie in several splits';
    return null;
  }
}

const few = (names: readonly string[]): string =>
  [...names.slice(0, 5).map(shownName), ...(names.length > 5 ? ['…'] : [])].join(', ');

function passedOver(names: readonly string[]): string {
  const n = names.length.toLocaleString('en');
  return names.length === 1
    ? `${few(names)} was passed over: it is no picture and no sound.`
    : `${n} files were passed over, as they are no pictures and no sounds: ${few(names)}.`;
}
