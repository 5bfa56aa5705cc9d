import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { ProblemObject, type Page } from '@graft/contracts';
import { Caller, RequireScope, type Principal } from '../../auth/principal.js';
import { ApiListResponse } from '../../http/openapi.js';
import { ProblemsService } from './problems.service.js';

@ApiTags('health')
@ApiBearerAuth()
@Controller('v1/problems')
export class ProblemsController {
  constructor(private readonly problems: ProblemsService) {}

  @Get()
  @RequireScope('jobs:read')
  @ApiListResponse(
    ProblemObject,
    'Lists what is wrong now for the key’s project (for administrators, everywhere), most severe first',
  )
  list(@Caller() caller: Principal): Promise<Page<ProblemObject>> {
    return this.problems.list(caller);
  }
}
