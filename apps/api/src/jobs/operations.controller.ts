import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { CreateOperation, JobObject } from '@graft/contracts';
import { ApiJsonResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { JobCreation } from './create-job.js';
import { CreateHeaders, type CallHeaders } from './create-headers.js';

const CREATE_OPERATION_EXAMPLE = { type: 'merge', model: 'ft:smollm2-135m::abc123' };

@ApiTags('adapters')
@ApiBearerAuth()
@Controller('v1/adapters/operations')
export class OperationsController {
  constructor(private readonly creation: JobCreation) {}

  /** Creates the job of an operation, which is queried and cancelled like any other job (docs/adr/0018). */
  @Post()
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiBody({ schema: bodySchema(CreateOperation, CREATE_OPERATION_EXAMPLE) })
  @ApiJsonResponse(JobObject, 'Creates a job that merges, combines or converts adapters')
  create(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @CreateHeaders() headers: CallHeaders,
  ): Promise<JobObject> {
    return this.creation.operate(caller, body, headers);
  }
}
