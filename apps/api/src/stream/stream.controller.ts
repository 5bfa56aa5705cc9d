import { Controller, Get, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { JobObject } from '@graft/contracts';
import type { Request, Response } from 'express';
import { ApiEventStream } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { JobStream } from './job-stream.js';
import { z } from 'zod';

@ApiTags('graft')
@ApiBearerAuth()
@Controller('v1/stream')
export class StreamController {
  constructor(private readonly streams: JobStream) {}

  @Get()
  @RequireScope('jobs:read')
  @ApiEventStream(
    { ready: z.object({}), job: JobObject },
    'Streams the jobs of the project as they change',
  )
  stream(
    @Caller() caller: Principal,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.streams.project(caller, request, response);
  }
}
