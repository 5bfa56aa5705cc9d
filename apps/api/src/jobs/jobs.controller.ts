import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Param,
  Post,
  Query,
  Req,
  Res,
} from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiProduces, ApiTags } from '@nestjs/swagger';
import {
  CheckpointObject,
  ChromeTrace,
  CreateJob,
  DeletedJobObject,
  JOB_KINDS,
  JOB_ORDERS,
  JOB_STATUSES,
  JobEventObject,
  JobConfusionObject,
  JobLedgerObject,
  JobObject,
  JobPreviewObject,
  JobSampleObject,
  Measured,
  MetricsObject,
  UpdateJob,
  type Page,
} from '@graft/contracts';
import type { Request, Response } from 'express';
import { z } from 'zod';
import {
  ApiJsonResponse,
  ApiFileResponse,
  ApiPageResponse,
  ApiQueryParam,
  ApiEventStream,
} from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { JobPreviews } from '../preview/job-previews.js';
import { JobStream } from '../stream/job-stream.js';
import { JobCreation } from './create-job.js';
import { EventFiles } from './event-files.js';
import { CreateHeaders, type CallHeaders } from './create-headers.js';
import { TraceFiles } from '../traces/trace-files.js';
import { JobChanges } from './job-changes.js';
import { JobConfusions } from './job-confusions.js';
import { JobLedgers, LEDGER_ORDERS } from './job-ledgers.js';
import { JobsService } from './jobs.service.js';
import { MOST_JOBS } from './list-query.js';
import { JobMetrics } from '../history/metrics.service.js';

type QueryValues = Record<string, unknown>;

const CREATE_JOB_EXAMPLE = {
  model: 'smollm2-135m',
  training_file: 'file-abc123',
  hyperparameters: { n_epochs: 3 },
  peft: { peft_type: 'LORA', r: 16, target_modules: 'all-linear' },
  graft: { max_seq_len: 1024 },
};

const UPDATE_JOB_EXAMPLE = {
  graft: {
    name: 'pirate, small rank',
    tags: ['pirate', 'keep'],
    note: 'Best so far',
    archived: false,
  },
};

@ApiTags('fine-tuning')
@ApiBearerAuth()
@Controller('v1/fine_tuning/jobs')
export class JobsController {
  constructor(
    private readonly jobs: JobsService,
    private readonly creation: JobCreation,
    private readonly changes: JobChanges,
    private readonly previews: JobPreviews,
    private readonly metrics: JobMetrics,
    private readonly ledgers: JobLedgers,
    private readonly confusions: JobConfusions,
    private readonly eventFiles: EventFiles,
    private readonly traces: TraceFiles,
    private readonly streams: JobStream,
  ) {}

  @Post()
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiBody({ schema: bodySchema(CreateJob, CREATE_JOB_EXAMPLE) })
  @ApiJsonResponse(JobObject, 'Creates a fine-tuning job')
  create(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @CreateHeaders() headers: CallHeaders,
  ): Promise<JobObject> {
    return this.creation.create(caller, body, headers);
  }

  /** Validates a request as `create` does, with the same errors, and returns what it would do. */
  @Post('preview')
  @HttpCode(200)
  @RequireScope('jobs:write', 'jobs:read')
  @ApiBody({ schema: bodySchema(CreateJob, CREATE_JOB_EXAMPLE) })
  @ApiJsonResponse(JobPreviewObject, 'Returns what creating a job would do, without creating it')
  preview(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<JobPreviewObject> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    return this.previews.of(caller, body, gone.signal);
  }

  @Get()
  @RequireScope('jobs:read')
  @ApiPageResponse(JobObject, 'Lists fine-tuning jobs, newest first by default', {
    limit: 20,
    most: MOST_JOBS,
  })
  @ApiQueryParam('order_by', { type: 'string', enum: JOB_ORDERS, default: 'created_at' })
  @ApiQueryParam('order', {
    type: 'string',
    enum: ['asc', 'desc'],
    default: 'desc',
    description:
      'Direction of the sort. Jobs without a value in the sort field come last in both directions',
  })
  @ApiQueryParam('status', { type: 'string', enum: JOB_STATUSES })
  @ApiQueryParam('search', {
    type: 'string',
    description:
      'Words to find in ids, names, tags, notes, models, methods, pools, metadata, errors and file names',
  })
  @ApiQueryParam('tag', {
    type: 'array',
    items: { type: 'string' },
    description: 'Jobs with all of these tags. Repeat the parameter for each tag: tag=a&tag=b',
  })
  @ApiQueryParam('model', {
    type: 'string',
    description: 'Value of `model` in the request that created the job',
  })
  @ApiQueryParam('method', {
    type: 'string',
    description: 'A peft_type, the name of a variant of LoRA (dora, rslora, qlora, …), or full',
  })
  @ApiQueryParam('kind', {
    type: 'string',
    enum: JOB_KINDS,
    description: 'Training jobs, or operations on adapters of one type',
  })
  @ApiQueryParam('archived', { type: 'string', enum: ['false', 'true', 'any'], default: 'false' })
  @ApiQueryParam('deleted', {
    type: 'string',
    enum: ['false', 'true'],
    default: 'false',
    description: 'true: only deleted jobs that can be restored',
  })
  @ApiQueryParam('metadata', {
    type: 'object',
    additionalProperties: { type: 'string' },
    description: 'Metadata of the job, as metadata[key]=value',
  })
  list(@Caller() caller: Principal, @Query() query: QueryValues): Promise<Page<JobObject>> {
    return this.jobs.list(caller, query);
  }

  @Get(':id')
  @RequireScope('jobs:read')
  @ApiJsonResponse(JobObject, 'Returns a fine-tuning job')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<JobObject> {
    return this.jobs.get(caller, id);
  }

  @Post(':id')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiBody({ schema: bodySchema(UpdateJob, UPDATE_JOB_EXAMPLE) })
  @ApiJsonResponse(
    JobObject,
    'Changes the name, note, tags, metadata or priority of a job, or archives it',
  )
  update(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<JobObject> {
    return this.changes.update(caller, id, body);
  }

  @Delete(':id')
  @RequireScope('jobs:write')
  @ApiJsonResponse(
    DeletedJobObject,
    'Deletes a finished job with its checkpoints, model and result files',
  )
  remove(@Caller() caller: Principal, @Param('id') id: string): Promise<DeletedJobObject> {
    return this.changes.remove(caller, id);
  }

  @Post(':id/restore')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiJsonResponse(JobObject, 'Restores a deleted job')
  restore(@Caller() caller: Principal, @Param('id') id: string): Promise<JobObject> {
    return this.changes.restore(caller, id);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiJsonResponse(JobObject, 'Cancels a job')
  cancel(@Caller() caller: Principal, @Param('id') id: string): Promise<JobObject> {
    return this.jobs.cancel(caller, id);
  }

  @Post(':id/pause')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiJsonResponse(JobObject, 'Pauses a job. A running job saves a checkpoint first')
  pause(@Caller() caller: Principal, @Param('id') id: string): Promise<JobObject> {
    return this.jobs.pause(caller, id);
  }

  @Post(':id/resume')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiJsonResponse(JobObject, 'Resumes a paused job')
  resume(@Caller() caller: Principal, @Param('id') id: string): Promise<JobObject> {
    return this.jobs.resume(caller, id);
  }

  @Get(':id/events')
  @RequireScope('jobs:read')
  @ApiPageResponse(JobEventObject, 'Lists the events of a job, newest first', {
    limit: 20,
    most: 1000,
  })
  events(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<Page<JobEventObject>> {
    return this.jobs.events(caller, id, query);
  }

  @Get(':id/logs')
  @RequireScope('jobs:read')
  @ApiPageResponse(JobEventObject, 'Lists the log lines of a job, newest first', {
    limit: 200,
    most: 1000,
  })
  logs(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<Page<JobEventObject>> {
    return this.jobs.logs(caller, id, query);
  }

  @Get(':id/checkpoints')
  @RequireScope('jobs:read')
  @ApiPageResponse(CheckpointObject, 'Lists the checkpoints of a job, newest first', {
    limit: 10,
    most: 100,
  })
  checkpoints(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<Page<CheckpointObject>> {
    return this.jobs.checkpoints(caller, id, query);
  }

  @Get(':id/samples')
  @RequireScope('jobs:read')
  @ApiPageResponse(
    JobSampleObject,
    'Lists the completions of the sample prompts of a job, newest first',
    {
      limit: 20,
      most: 100,
    },
  )
  samples(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<Page<JobSampleObject>> {
    return this.jobs.samples(caller, id, query);
  }

  @Get(':id/ledger')
  @RequireScope('jobs:read')
  @ApiJsonResponse(
    JobLedgerObject,
    'Returns the training examples with the highest loss (the loss ledger)',
  )
  @ApiQueryParam('order', {
    type: 'string',
    enum: LEDGER_ORDERS,
    default: 'worst',
    description:
      '`worst`: highest loss first. `least_learnt`: smallest decrease from the loss of the base model first',
  })
  @ApiQueryParam('step', {
    type: 'integer',
    description: 'Step of the ledger. Default: the last of `steps`',
  })
  @ApiQueryParam('limit', { type: 'integer', minimum: 1, maximum: 500, default: 20 })
  ledger(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<JobLedgerObject> {
    return this.ledgers.of(caller, id, query);
  }

  @Get(':id/confusion')
  @RequireScope('jobs:read')
  @ApiJsonResponse(JobConfusionObject, 'Returns the confusion matrix of an evaluation')
  @ApiQueryParam('step', {
    type: 'integer',
    description: 'Step of the evaluation. Default: the evaluation with the lowest loss',
  })
  confusion(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<JobConfusionObject> {
    return this.confusions.of(caller, id, query);
  }

  @Get(':id/metrics')
  @RequireScope('jobs:read')
  @ApiJsonResponse(MetricsObject, 'Returns the metrics of the steps and evaluations of a job')
  series(@Caller() caller: Principal, @Param('id') id: string): Promise<MetricsObject> {
    return this.metrics.get(caller, id);
  }

  @Get(':id/tensorboard')
  @RequireScope('jobs:read')
  @ApiProduces('application/octet-stream')
  @ApiFileResponse(
    ['application/octet-stream'],
    'Returns the metrics of a job as a TensorBoard event file',
  )
  @ApiQueryParam('after', {
    type: 'string',
    description:
      'ID of an event, from the X-Graft-Last-Event header. Returns only later metrics, to append to the file',
  })
  tensorboard(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query('after') after: unknown,
    @Res() response: Response,
  ): Promise<void> {
    return this.eventFiles.send(caller, id, after, response);
  }

  @Get(':id/trace')
  @RequireScope('jobs:read')
  @ApiJsonResponse(ChromeTrace, 'Returns a trace of a job for ui.perfetto.dev or chrome://tracing')
  async trace(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Res({ passthrough: true }) response: Response,
  ): Promise<ChromeTrace> {
    const trace = await this.traces.get(caller, id);
    response.attachment(`${id}.trace.json`);
    return trace;
  }

  @Get(':id/stream')
  @RequireScope('jobs:read')
  @ApiEventStream(
    { job: JobObject, event: JobEventObject, metrics: Measured, reset: z.object({}) },
    'Streams changes of a job',
  )
  stream(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.streams.job(caller, id, request, response);
  }
}
