import { Injectable } from '@nestjs/common';
import {
  DomainError,
  parseBody,
  ReviseFile,
  type FileObject,
  type FileReport,
  type FileRevisionObject,
} from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { promptTasks, readLine, recordProblem, splitOf } from '../catalog/plugins.js';
import type { File } from '../database/entities/storage.js';
import { FilesService, TRAINING_PURPOSE } from '../files/files.service.js';
import { revisedLines } from '../files/revised-lines.js';
import { receivingSlots } from '../files/upload-slots.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { DataReports } from '../preview/data-reports.js';
import { ReaderFailure } from '../preview/data-reader.js';

type Changes = ReadonlyMap<number, string | null>;

/** Places of held-out records, from 0. */
type Places = ReadonlySet<number>;

/** Writes copies of training files with some records replaced or removed. */
@Injectable()
export class FileRevisions {
  constructor(
    private readonly files: FilesService,
    private readonly blobs: BlobStore,
    private readonly jobs: JobsRepository,
    private readonly reports: DataReports,
  ) {}

  /**
   * Creates a revision. It is checked like an upload, and nothing is stored unless all of it is right.
   * @throws DomainError that names the first record that cannot be used
   */
  async create(
    caller: Principal,
    id: string,
    body: unknown,
    gone: AbortSignal,
  ): Promise<FileRevisionObject> {
    const request = parseBody(ReviseFile, body);
    const file = await this.files.row(caller, id);
    if (file.purpose !== TRAINING_PURPOSE)
      throw new DomainError(
        'invalid_value',
        `${id} has purpose ${file.purpose}; only files with purpose fine-tune have records`,
        'file_id',
      );
    const changes = changesOf(request, file);
    const held = await this.heldOut(caller, file, request.hold_out_as, gone);
    const done = await receivingSlots.take(caller.projectId, gone);
    try {
      return await this.store(caller, file, { request, changes, held });
    } finally {
      done();
    }
  }

  private async store(
    caller: Principal,
    file: File,
    { request, changes, held }: { request: ReviseFile; changes: Changes; held: Places | null },
  ): Promise<FileRevisionObject> {
    const stem = stemOf(file.filename);
    const name = request.filename ?? `${stem} (${changesInWords(changes)}).jsonl`;
    const write = (filename: string, keeps: (place: number) => boolean): Promise<FileObject> =>
      this.write(caller, file, { filename, changes, keeps });
    const heldOutRevised = held === null ? 0 : await this.countIn(file, changes, held);
    const validation =
      held === null ? null : await write(`${stem} (held out).jsonl`, (place) => held.has(place));
    const training = await write(name, (place) => held?.has(place) !== true).catch(
      async (error: unknown) => {
        if (validation !== null) await this.files.remove(caller, validation.id);
        throw error;
      },
    );
    return {
      object: 'graft.file_revision',
      id: training.id,
      file: training,
      validation_file: validation,
      changed: [...changes.values()].filter((text) => text !== null).length,
      removed: [...changes.values()].filter((text) => text === null).length,
      held_out_revised: heldOutRevised,
    };
  }

  private write(
    caller: Principal,
    file: File,
    {
      filename,
      changes,
      keeps,
    }: { filename: string; changes: Changes; keeps: (place: number) => boolean },
  ): Promise<FileObject> {
    const lines = (isRemoved: boolean): number[] =>
      [...changes].flatMap(([line, text]) => ((text === null) === isRemoved ? [line] : []));
    return this.files.store(
      caller,
      revisedLines(this.blobs.read(file.sha256), { changes, keeps }),
      {
        filename,
        purpose: TRAINING_PURPOSE,
        lifetime_seconds: null,
        bytes: file.bytes,
        columns: {},
        requiresLabelColumns: false,
        revises: {
          file: file.id,
          changed_lines: lines(false).sort((a, b) => a - b),
          removed_lines: lines(true).sort((a, b) => a - b),
        },
        accepts: (report) => refuseWorse(file.report, report),
      },
    );
  }

  /** Returns how many of the changed lines are held-out records. */
  private async countIn(file: File, changes: Changes, held: Places): Promise<number> {
    let count = 0;
    const outside = revisedLines(this.blobs.read(file.sha256), {
      changes: new Map([...changes].map(([line]) => [line, ''])),
      keeps: (place) => held.has(place),
    });
    // A changed line that is kept is empty, so two newlines follow each other or start the text.
    let before = 10;
    for await (const chunk of outside)
      for (const byte of chunk) {
        if (byte === 10 && before === 10) count++;
        before = byte;
      }
    return count;
  }

  /** Returns the places of the records that the job held out; null if no job is given. */
  private async heldOut(
    caller: Principal,
    file: File,
    jobId: string | undefined,
    gone: AbortSignal,
  ): Promise<Places | null> {
    if (jobId === undefined) return null;
    const job = await this.jobs.row(caller.projectId, jobId, { parameter: 'hold_out_as' });
    const split = job.validation_file === null ? splitOf(job.spec) : null;
    if (job.training_file !== file.id || split === null)
      throw new DomainError(
        'invalid_value',
        job.training_file === file.id
          ? `hold_out_as: ${jobId} held out no records of its training file; use its validation file`
          : `hold_out_as: ${jobId} did not train on ${file.id}`,
        'hold_out_as',
      );
    const { task, peft } = job.spec;
    const question = { task, tasks: promptTasks(peft), split };
    try {
      const places = await this.reports.heldOut(
        file,
        question,
        this.reports.caller(caller.projectId, gone),
      );
      return new Set(places);
    } catch (error) {
      if (!(error instanceof ReaderFailure)) throw error;
      throw new DomainError('unavailable', error.message);
    }
  }
}

/** @throws DomainError that names a record that the file's task cannot use, or a line that is given twice */
function changesOf({ records }: ReviseFile, { report }: File): Changes {
  const changes = new Map<number, string | null>();
  for (const [index, { line, record }] of records.entries()) {
    const at = `records[${index}]`;
    if (changes.has(line))
      throw new DomainError(
        'invalid_value',
        `${at}.line: line ${line} is given twice`,
        `${at}.line`,
      );
    const text = record === null ? null : JSON.stringify(record);
    const read = text === null ? null : readLine(text, line);
    const problem =
      typeof read === 'string' ? read : read && recordProblem(read, report?.checked_as);
    if (problem)
      throw new DomainError(
        'invalid_training_file',
        `${at}.record: line ${line}: ${problem}`,
        `${at}.record`,
      );
    changes.set(line, text);
  }
  return changes;
}

/** @throws DomainError if the revision has problems that the original does not have */
function refuseWorse(before: FileReport | null, after: FileReport): void {
  const isFine = (before?.problems ?? []).length === 0;
  const lead = (report: FileReport | null) =>
    report?.tasks?.find(({ task }) => task === before?.checked_as);
  const problem =
    isFine && after.problems.length > 0
      ? after.problems.join('; ')
      : lead(before)?.fits === true && lead(after)?.fits === false
        ? lead(after)?.problem
        : null;
  if (problem) throw new DomainError('invalid_training_file', problem, 'records');
}

/** Returns a file name without its extension and without the words of an earlier revision. */
const stemOf = (filename: string): string =>
  filename.replace(/\.[A-Za-z0-9]{1,8}$/, '').replace(/ \(\d+ rows? (fixed|removed)\)$/, '') ||
  'data';

function changesInWords(changes: Changes): string {
  const isRemoval = [...changes.values()].every((text) => text === null);
  return `${changes.size} ${changes.size === 1 ? 'row' : 'rows'} ${isRemoval ? 'removed' : 'fixed'}`;
}
