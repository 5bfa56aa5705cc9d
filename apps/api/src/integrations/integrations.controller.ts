import { type Deleted, IntegrationObject, type Page } from '@graft/contracts';
import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { ApiJsonResponse, ApiDeletedResponse, ApiListResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { SetIntegration } from './integration-body.js';
import { Integrations } from './integrations.service.js';

@ApiTags('integrations')
@ApiBearerAuth()
@Controller('v1/integrations')
export class IntegrationsController {
  constructor(private readonly integrations: Integrations) {}

  @Get()
  @RequireScope('project:admin')
  @ApiListResponse(IntegrationObject, 'Lists the experiment trackers of the project')
  list(@Caller() caller: Principal): Promise<Page<IntegrationObject>> {
    return this.integrations.list(caller);
  }

  @Get(':type')
  @RequireScope('project:admin')
  @ApiJsonResponse(IntegrationObject, 'Returns an experiment tracker: wandb or mlflow')
  get(@Caller() caller: Principal, @Param('type') type: string): Promise<IntegrationObject> {
    return this.integrations.get(caller, type);
  }

  @Post(':type')
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(SetIntegration) })
  @ApiJsonResponse(
    IntegrationObject,
    'Sets up an experiment tracker; replaces all previous settings',
  )
  set(
    @Caller() caller: Principal,
    @Param('type') type: string,
    @Body() body: unknown,
  ): Promise<IntegrationObject> {
    return this.integrations.set(caller, type, body);
  }

  @Delete(':type')
  @RequireScope('project:admin')
  @ApiDeletedResponse(
    'integration',
    'Deletes an experiment tracker; its runs are kept on its server',
  )
  remove(
    @Caller() caller: Principal,
    @Param('type') type: string,
  ): Promise<Deleted<'integration'>> {
    return this.integrations.remove(caller, type);
  }
}
