// Reads the layout of Hugging Face's ImageFolder and AudioFolder: metadata that lists each file with its label or
// text, or one folder per class. Outer folders such as train/ and test/ are splits.
import { isNamedMedia } from '@graft/contracts';
import type { ArchiveEntry } from './archive-entries.js';
import { nameProblem, normalizedName } from './archive-names.js';
import { safeName, type ArchiveProblems } from './archive-problems.js';
import { isMetadata, metadataNoun, metadataRows, type DescribedFiles } from './metadata-rows.js';
import { Problems } from '../rows/problems.js';
import type { Row } from '../rows/rows.js';

export interface MediaFile {
  readonly name: string;
  readonly entry: ArchiveEntry;
  /** Key in the record; `null` for the default, `image` or `audio`. */
  readonly key: string | null;
}

/** One or several files with the target that the model learns from them. */
export interface MediaExample {
  readonly files: readonly MediaFile[];
  readonly answers: Row;
}

export interface MediaFolder {
  readonly examples: readonly MediaExample[];
  /** Notes for the user, one sentence each. */
  readonly notes: readonly string[];
}

type Files = ReadonlyMap<string, ArchiveEntry>;

const TRAIN = ['train', 'training'];
const SPLITS = [...TRAIN, 'validation', 'valid', 'val', 'dev', 'test', 'testing', 'eval'];
const NO_LABELS =
  'its files have no labels or texts: expected one folder per class, or a metadata.csv or metadata.jsonl with "file_name" and "label", "labels" or "text", or with "anchor_file_name" and "positive_file_name"';

/** Returns the examples in the archive, in the order of its metadata or, without metadata, by name. */
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
      problems.add(name, 'metadata must be CSV or JSON Lines; convert it to one of these');
  const notes = split === null ? [] : [split.note];
  const described = new Description(files, isTaken, problems);
  for (const name of applying) await described.read(name);
  // Rows with errors may have named the files.
  if (applying.length > 0 && problems.none) described.missing(taken);
  const { examples, ignored } = described;
  const found = applying.length > 0 ? examples : classes(taken, files, problems);
  if (found.length === 0 && problems.none)
    throw new Error('it has no images or audio: expected files such as JPEG, PNG or WAV');
  if (ignored.size > 0)
    notes.push(`Training ignores these metadata columns: ${nameList([...ignored])}.`);
  const used = new Set([
    ...media,
    ...tables,
    ...found.flatMap((one) => one.files.map(({ name }) => name)),
  ]);
  const others = [...files.keys()].filter((name) => !used.has(name));
  if (others.length > 0) notes.push(skippedNote(others));
  return { examples: found, notes };
}

/** Whether a file is hidden, as created by operating systems. Hugging Face datasets ignores such files, too. */
const isHidden = (name: string): boolean => /(^|\/)(\.|__)/.test(name);

const folder = (name: string): string => name.slice(0, name.lastIndexOf('/') + 1);

/** Returns the common folder of all names with its trailing slash, or ''. */
function commonFolder(names: readonly string[]): string {
  let common = folder(names[0] ?? '');
  while (!names.every((name) => name.startsWith(common))) common = folder(common.slice(0, -1));
  return common;
}

/** Returns the split to train on if all top-level folders are splits. */
function splitOf(media: readonly string[]): { folder: string; note: string } | null {
  const root = commonFolder(media);
  const parts = media.map((name) => name.slice(root.length).split('/'));
  const tops = [...new Set(parts.map((part) => (part.length > 1 ? part[0] : '')))] as string[];
  if (tops.length < 2 || !tops.every((top) => SPLITS.includes(top.toLowerCase()))) return null;
  const train = tops.find((top) => TRAIN.includes(top.toLowerCase()));
  if (train === undefined)
    throw new Error(
      `it has several splits (${nameList(tops)}) but none named train; upload only one of them`,
    );
  const others = tops.filter((top) => top !== train);
  const note = `The archive has several splits; ${train} was used. You can upload ${nameList(others)} as a validation file.`;
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
      problems.add(name, 'it is nested deeper than one folder per class, which requires metadata');
    else {
      const entry = files.get(name) as ArchiveEntry;
      examples.push({ files: [{ name, entry, key: null }], answers: { label } });
    }
  }
  if (loose.length > 0 && loose.length === media.length) throw new Error(NO_LABELS);
  for (const name of loose) problems.add(name, 'it is not in the folder of a class');
  return examples;
}

/** Reads metadata files and collects their examples. */
class Description {
  readonly examples: MediaExample[] = [];
  /** Columns that training does not read. */
  readonly ignored = new Set<string>();
  private readonly describedFiles = new Set<string>();

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

  /** Adds a problem for each file that no row lists. */
  missing(media: readonly string[]): void {
    for (const name of media)
      if (!this.describedFiles.has(name))
        this.problems.add(name, 'no row of the metadata lists it');
  }

  private take(from: string, { names, answers }: DescribedFiles): string | null {
    const files: MediaFile[] = [];
    for (const { key, column, fileName } of names) {
      const unix = fileName.replaceAll('\\', '/');
      const shown = `${column} ${JSON.stringify(safeName(fileName))}`;
      const problem = nameProblem(unix);
      if (problem !== null) return `${shown}: ${problem}`;
      const name = normalizedName(from + unix);
      const entry = this.files.get(name);
      if (entry === undefined) return `${shown} is not in the archive`;
      // Several rows that describe one file contradict each other, but rows of pairs may share a file.
      if (key === null && this.describedFiles.has(name))
        return `${shown} is already listed in an earlier row`;
      files.push({ name, entry, key });
    }
    for (const { name } of files) this.describedFiles.add(name);
    const taken = files.filter(({ name }) => this.isTaken(name));
    if (taken.length === files.length) this.examples.push({ files, answers });
    else if (taken.length > 0) return 'its files are in several splits';
    return null;
  }
}

const nameList = (names: readonly string[]): string =>
  [...names.slice(0, 5).map(safeName), ...(names.length > 5 ? ['…'] : [])].join(', ');

function skippedNote(names: readonly string[]): string {
  const n = names.length.toLocaleString('en');
  return names.length === 1
    ? `${nameList(names)} was skipped because it is not an image or audio file.`
    : `${n} files were skipped because they are not images or audio: ${nameList(names)}.`;
}
