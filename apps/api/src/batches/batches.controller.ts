import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { BatchObject, type Page } from '@graft/contracts';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { ApiJsonResponse, ApiPageResponse } from '../http/openapi.js';
import { bodySchema } from '../http/parse.js';
import { CreateBatchBody } from './batch-body.js';
import { BatchesService } from './batches.service.js';

const BODY_EXAMPLE = {
  input_file_id: 'file-abc123',
  endpoint: '/v1/chat/completions',
  completion_window: '24h',
};

@ApiTags('batches')
@ApiBearerAuth()
@Controller('v1/batches')
export class BatchesController {
  constructor(private readonly batches: BatchesService) {}

  @Post()
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiBody({ schema: bodySchema(CreateBatchBody, BODY_EXAMPLE) })
  @ApiJsonResponse(BatchObject, 'Creates a batch of the requests in a file')
  create(@Caller() caller: Principal, @Body() body: unknown): Promise<BatchObject> {
    return this.batches.create(caller, body);
  }

  @Get()
  @RequireScope('jobs:read')
  @ApiPageResponse(BatchObject, 'Lists batches, newest first', { limit: 20, most: 100 })
  list(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<BatchObject>> {
    return this.batches.list(caller, query);
  }

  @Get(':id')
  @RequireScope('jobs:read')
  @ApiJsonResponse(BatchObject, 'Returns a batch')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<BatchObject> {
    return this.batches.get(caller, id);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiJsonResponse(BatchObject, 'Cancels a batch and keeps its answers so far')
  cancel(@Caller() caller: Principal, @Param('id') id: string): Promise<BatchObject> {
    return this.batches.cancel(caller, id);
  }
}
