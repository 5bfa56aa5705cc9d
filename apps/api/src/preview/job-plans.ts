import { Injectable } from '@nestjs/common';
import { CreateJob, DomainError, type Spec } from '@graft/contracts';
import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import {
  cutAt,
  footprintOf,
  peftFields,
  resolveSpec,
  type BaseFootprint,
} from '../catalog/plugins.js';
import type { File } from '../database/entities/storage.js';
import { FilesService } from '../files/files.service.js';
import { parseBody } from '../http/parse.js';
import { ModelsService, type Resolved } from '../models/models.service.js';
import { ReaderFailure } from './data-reader.js';
import { DataReports } from './data-reports.js';
import type { DataReports as Reports } from './reader-protocol.js';
import type { Asker } from './turns.js';

/** What a create call asks for, checked and resolved; nothing is written yet. */
export interface JobPlan {
  readonly request: CreateJob;
  readonly base: Resolved;
  /** The adapter to begin from. */
  readonly start: Resolved | null;
  readonly training: File;
  readonly validation: File | null;
  readonly spec: Spec;
  readonly footprint: BaseFootprint | null;
  readonly data: Reports | null;
  /** Why the data were not looked at; null when they were. */
  readonly unread: string | null;
}

/** OpenAI's bound, checked here because it counts pairs, not characters. */
const Metadata = z.object({
  metadata: z
    .record(z.string(), z.string())
    .refine((pairs) => Object.keys(pairs).length <= 16, 'at most 16 pairs'),
});

/** Turns the body of a create call into a plan: creation writes it, a preview shows it. */
@Injectable()
export class JobPlans {
  constructor(
    private readonly files: FilesService,
    private readonly models: ModelsService,
    private readonly reports: DataReports,
  ) {}

  /**
   * `gone` says that nobody waits for the plan any more.
   * @throws DomainError naming the field, or the lines of a file, that are wrong
   */
  async of(caller: Principal, body: unknown, gone?: AbortSignal): Promise<JobPlan> {
    const request = parseBody(CreateJob, body, peftFields);
    if (request.metadata) parseBody(Metadata, { metadata: request.metadata });
    const base = await this.models.resolve(caller, request.model, 'model');
    const start = await this.startingAdapter(caller, request, base);
    const training = await this.usable(caller, request.training_file, 'training_file');
    const validation = request.validation_file
      ? await this.usable(caller, request.validation_file, 'validation_file')
      : null;
    const spec = resolveSpec(
      { ...request, model: base.base.id, ...(await this.samePeft(caller, request, start)) },
      {
        trainingRecords: training.records,
        ...(base.base.family ? { modelType: base.base.family } : {}),
      },
    );
    const named = { request, base, start, training, validation, spec };
    return {
      ...named,
      ...(await this.lookedAt(named, this.reports.asker(caller.projectId, gone))),
    };
  }

  private async lookedAt(
    plan: Pick<JobPlan, 'base' | 'start' | 'training' | 'validation' | 'spec'>,
    asker: Asker,
  ): Promise<Pick<JobPlan, 'footprint' | 'data' | 'unread'>> {
    const { start, training, validation, spec } = plan;
    const { base } = plan.base;
    let footprint: BaseFootprint | null = null;
    try {
      footprint = footprintOf(spec.peft, await this.reports.config(base, asker), start !== null);
      const maxSeqLen = cutAt(spec, footprint);
      const question = { base, training, validation, task: spec.task, maxSeqLen };
      return { footprint, data: await this.reports.of(question, asker), unread: null };
    } catch (error) {
      if (!(error instanceof ReaderFailure)) throw error;
      return { footprint, data: null, unread: error.message };
    }
  }

  private async startingAdapter(
    caller: Principal,
    request: CreateJob,
    base: Resolved,
  ): Promise<Resolved | null> {
    const named = request.graft?.init_adapter;
    if (!named) return base.adapter.length > 0 ? base : null;
    const start = await this.models.resolve(caller, named, 'graft.init_adapter');
    if (start.adapter.length === 0) {
      throw new DomainError(
        'invalid_adapter',
        `${named} is a base model, not an adapter`,
        'graft.init_adapter',
      );
    }
    if (start.base.id !== base.base.id) {
      throw new DomainError(
        'invalid_adapter',
        `${named} was trained on ${start.base.id}, not on ${base.base.id}`,
        'graft.init_adapter',
      );
    }
    return start;
  }

  /** Without a `peft`, training goes on as the adapter to begin from was trained. */
  private async samePeft(
    caller: Principal,
    request: CreateJob,
    start: Resolved | null,
  ): Promise<Pick<CreateJob, 'peft'>> {
    if (request.peft !== undefined || start === null) return {};
    const parameter = request.graft?.init_adapter ? 'graft.init_adapter' : 'model';
    return { peft: await this.models.peftOf(caller, start.id, parameter) };
  }

  private async usable(caller: Principal, id: string, parameter: string): Promise<File> {
    const file = await this.files.row(caller, id, parameter);
    if (file.purpose !== 'fine-tune') {
      throw new DomainError(
        'invalid_training_file',
        `${id} has purpose ${file.purpose}; upload it with purpose fine-tune`,
        parameter,
      );
    }
    if (file.status !== 'processed') {
      throw new DomainError(
        'invalid_training_file',
        `${file.filename} (${id}) cannot be used: ${file.status_details ?? file.status}`,
        parameter,
      );
    }
    return file;
  }
}
