import {
  Body,
  Controller,
  Get,
  Headers,
  HttpCode,
  Param,
  Post,
  Query,
  Req,
  Res,
} from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { CreateJob, DomainError } from '@graft/contracts';
import type { Request, Response } from 'express';
import { Caller, Needs, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { JobPreviews } from '../preview/job-previews.js';
import { JobStream } from '../stream/job-stream.js';
import { JobCreation } from './create-job.js';
import { JobsService } from './jobs.service.js';
import { JobMetrics } from './metrics.service.js';

type QueryValues = Record<string, unknown>;

@ApiTags('fine-tuning')
@ApiBearerAuth()
@Controller('v1/fine_tuning/jobs')
export class JobsController {
  constructor(
    private readonly jobs: JobsService,
    private readonly creation: JobCreation,
    private readonly previews: JobPreviews,
    private readonly metrics: JobMetrics,
    private readonly streams: JobStream,
  ) {}

  @Post()
  @HttpCode(200)
  @Needs('jobs:write')
  @ApiBody({ schema: bodySchema(CreateJob) })
  create(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Headers('idempotency-key') key: string | undefined,
    @Headers('x-stainless-retry-count') retries: string | undefined,
  ): Promise<unknown> {
    return this.creation.create(caller, body, {
      idempotencyKey: idempotencyKey(key),
      sdkRetry: Number(retries ?? 0) > 0,
    });
  }

  /** What creating would do; the same body and the same errors. */
  @Post('preview')
  @HttpCode(200)
  @Needs('jobs:write', 'jobs:read')
  @ApiBody({ schema: bodySchema(CreateJob) })
  preview(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<unknown> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    return this.previews.of(caller, body, gone.signal);
  }

  @Get()
  @Needs('jobs:read')
  list(@Caller() caller: Principal, @Query() query: QueryValues): Promise<unknown> {
    return this.jobs.list(caller, query);
  }

  @Get(':id')
  @Needs('jobs:read')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return this.jobs.get(caller, id);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @Needs('jobs:write')
  cancel(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return this.jobs.cancel(caller, id);
  }

  @Post(':id/pause')
  @HttpCode(200)
  @Needs('jobs:write')
  pause(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return this.jobs.pause(caller, id);
  }

  @Post(':id/resume')
  @HttpCode(200)
  @Needs('jobs:write')
  resume(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return this.jobs.resume(caller, id);
  }

  @Get(':id/events')
  @Needs('jobs:read')
  events(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<unknown> {
    return this.jobs.events(caller, id, query);
  }

  @Get(':id/logs')
  @Needs('jobs:read')
  logs(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<unknown> {
    return this.jobs.logs(caller, id, query);
  }

  @Get(':id/checkpoints')
  @Needs('jobs:read')
  checkpoints(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<unknown> {
    return this.jobs.checkpoints(caller, id, query);
  }

  @Get(':id/metrics')
  @Needs('jobs:read')
  series(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return this.metrics.get(caller, id);
  }

  @Get(':id/stream')
  @Needs('jobs:read')
  stream(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.streams.job(caller, id, request, response);
  }
}

const LONGEST_KEY = 255;

/** A key that is cut would be another one's, so a longer one is refused. */
function idempotencyKey(header: string | undefined): string | null {
  if (header && header.length > LONGEST_KEY) {
    throw new DomainError(
      'invalid_value',
      `Idempotency-Key: expected at most ${LONGEST_KEY} characters, got ${header.length}`,
      'Idempotency-Key',
    );
  }
  return header || null;
}
