import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { CreateSweep, SweepObject, type Page } from '@graft/contracts';
import { ApiJsonResponse, ApiPageResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { CreateHeaders, type CallHeaders } from '../jobs/create-headers.js';
import { SweepCreation } from './create-sweep.js';
import { SweepsService } from './sweeps.service.js';

const CREATE_SWEEP_EXAMPLE = {
  model: 'smollm2-135m',
  training_file: 'file-abc123',
  peft: { peft_type: 'LORA', target_modules: 'all-linear' },
  search: {
    algorithm: 'asha',
    parameters: {
      'peft.r': [8, 16, 64],
      'graft.learning_rate': { min: 0.00005, max: 0.002, log: true },
    },
    max_trials: 12,
  },
};

@ApiTags('sweeps')
@ApiBearerAuth()
@Controller('v1/sweeps')
export class SweepsController {
  constructor(
    private readonly sweeps: SweepsService,
    private readonly creation: SweepCreation,
  ) {}

  @Post()
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiBody({ schema: bodySchema(CreateSweep, CREATE_SWEEP_EXAMPLE) })
  @ApiJsonResponse(SweepObject, 'Creates a sweep: jobs that differ in some of their fields')
  create(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @CreateHeaders() headers: CallHeaders,
  ): Promise<SweepObject> {
    return this.creation.create(caller, body, headers);
  }

  @Get()
  @RequireScope('jobs:read')
  @ApiPageResponse(SweepObject, 'Lists sweeps, newest first', { limit: 20, most: 100 })
  list(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<SweepObject>> {
    return this.sweeps.list(caller, query);
  }

  @Get(':id')
  @RequireScope('jobs:read')
  @ApiJsonResponse(SweepObject, 'Returns a sweep with its trials')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<SweepObject> {
    return this.sweeps.get(caller, id);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiJsonResponse(SweepObject, 'Cancels the unfinished trials of a sweep')
  cancel(@Caller() caller: Principal, @Param('id') id: string): Promise<SweepObject> {
    return this.sweeps.cancel(caller, id);
  }
}
