import { join } from 'node:path';
import { DomainError, Spec } from '@graft/contracts';
import type { Assignment, BlobRef } from '@graft/contracts/grpc';
import { DamagedBlob } from '../blobs/blob-cache.js';
import type { BlobFolder } from '../blobs/blob-folder.js';
import type { Blobs } from '../blobs/blobs.js';
import type { StartCommand } from '../protocol/protocol.js';
import type { ReportPhase } from '../trainer-pool/bases.js';
import type { ResidentTrainer } from '../trainer-pool/resident-trainer.js';
import { makePassage } from '../trainer-pool/sandbox.js';
import type { Trainers } from '../trainer-pool/trainers.js';

export interface PreparationOptions {
  readonly assignment: Assignment;
  readonly blobs: Blobs;
  readonly trainers: Trainers;
  /** Creates a folder that trainers may write to. */
  readonly makeFolder: (path: string) => Promise<void>;
  /** Folder of the attempt. */
  readonly folder: string;
  /** Subfolder of `folder` that the run writes to. */
  readonly workDir: string;
  readonly report: ReportPhase;
}

/** Acquired trainer that holds the base, and the command to start the run. */
export interface PreparedRun {
  readonly trainer: ResidentTrainer;
  readonly command: StartCommand;
}

/** Prepares a run: fetches its files into folders and acquires a trainer that holds its base. */
export class Preparation {
  private readonly folders: BlobFolder[] = [];
  private readonly abort = new AbortController();

  constructor(private readonly options: PreparationOptions) {}

  /** Rejects with the reason given to `stop`. Then no trainer is held; `release` frees the folders. */
  async run(): Promise<PreparedRun> {
    const { assignment, trainers, makeFolder, folder, workDir, report } = this.options;
    const { base, trainingFile, validationFile } = assignment;
    const spec = readSpec(assignment.specJson);
    if (base === undefined || (trainingFile === undefined && !spec.operation))
      throw new DomainError('io_error', 'the assignment has no base or no training file');
    await makePassage(folder);
    await makeFolder(workDir);
    const trainDir = await this.fetch('training', trainingFile ? [trainingFile] : []);
    const validDir = await this.fetch('validation', validationFile ? [validationFile] : []);
    const initAdapter = assignment.initAdapter.filter(({ name }) => !name.includes('/'));
    const initAdapterDir = await this.fetch('initial-adapter', initAdapter);
    const adapterDirs = await this.adapters(assignment.initAdapter);
    const checkpointDir = await this.fetch('checkpoint', assignment.checkpoint).catch(
      (error: unknown) => {
        throw error instanceof DamagedBlob
          ? new DomainError('damaged_checkpoint', error.message)
          : error;
      },
    );
    const { signal } = this.abort;
    const precision = { dtype: spec.base_dtype, quantization: spec.quantization };
    const { alone = false } = assignment;
    const trainer = await trainers.acquire({ base, precision, alone }, signal, report);
    if (signal.aborted) {
      trainers.release(trainer);
      throw signal.reason;
    }
    const command: StartCommand = {
      type: 'start',
      jobId: assignment.jobId,
      attempt: assignment.attempt,
      spec,
      baseId: base.id,
      baseName: base.nameOrPath || base.id,
      trainFile: trainDir && trainingFile ? join(trainDir, trainingFile.name) : '',
      validFile: validDir && validationFile ? join(validDir, validationFile.name) : null,
      initAdapterDir,
      adapterDirs,
      checkpointDir,
      workDir,
      asks: true,
    };
    return { trainer, command };
  }

  stop(reason: Error): void {
    this.abort.abort(reason);
  }

  /** Releases the fetched files. */
  async release(): Promise<void> {
    for (const folder of this.folders.splice(0)) await folder.release();
  }

  /**
   * Fetches the adapters of an operation, or those that the run's adapter combines, into one folder each. Their file names
   * start with the index of the adapter and a slash.
   */
  private async adapters(files: readonly BlobRef[]): Promise<string[]> {
    const folders: string[] = [];
    const named = (place: string): BlobRef[] => files.filter(({ name }) => name.startsWith(place));
    for (let i = 0, of = named('0/'); of.length > 0; of = named(`${++i}/`)) {
      const plain = of.map((file) => ({ ...file, name: file.name.slice(`${i}/`.length) }));
      const dir = await this.fetch(`adapter-${i}`, plain);
      if (dir) folders.push(dir);
    }
    return folders;
  }

  /** Fetches files into a folder; null if there are none. */
  private async fetch(name: string, files: readonly BlobRef[]): Promise<string | null> {
    if (files.length === 0) return null;
    const { blobs, folder, report } = this.options;
    const { signal } = this.abort;
    const fetched = await blobs.folder(join(folder, name), files, signal, (share) =>
      report('downloading', `downloading the ${name} files`, share),
    );
    if (signal.aborted) {
      await fetched.release();
      throw signal.reason;
    }
    this.folders.push(fetched);
    return fetched.path;
  }
}

function readSpec(json: string): Spec {
  try {
    return Spec.parse(JSON.parse(json));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DomainError(
      'unsupported',
      `this worker cannot read the job's spec; it may be older than the API: ${reason}`,
    );
  }
}
