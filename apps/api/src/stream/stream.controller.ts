import { Controller, Get, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Caller, Needs, type Principal } from '../auth/principal.js';
import { JobStream } from './job-stream.js';

@ApiTags('graft')
@ApiBearerAuth()
@Controller('v1/stream')
export class StreamController {
  constructor(private readonly streams: JobStream) {}

  @Get()
  @Needs('jobs:read')
  stream(
    @Caller() caller: Principal,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.streams.project(caller, request, response);
  }
}
