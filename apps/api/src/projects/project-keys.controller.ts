import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { type Deleted, type Page, ProjectApiKeyObject } from '@graft/contracts';
import { ApiKeysService, CreateKey } from '../auth/keys/api-keys.service.js';
import { projectKeyObject } from '../auth/keys/key-objects.js';
import { ApiJsonResponse, ApiDeletedResponse, ApiPageResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema, pageQuery, pageInMemory } from '../http/parse.js';
import { ownProject } from './own-project.js';

@ApiTags('administration')
@ApiBearerAuth()
@Controller('v1/organization/projects/:project/api_keys')
export class ProjectKeysController {
  constructor(private readonly keys: ApiKeysService) {}

  @Get()
  @RequireScope('project:admin')
  @ApiPageResponse(ProjectApiKeyObject, 'Lists the API keys of a project', { limit: 20, most: 100 })
  async list(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<ProjectApiKeyObject>> {
    const keys = await this.keys.list(caller, ownProject(caller, project));
    return pageInMemory(keys, pageQuery(query, 20, 100), (key) => projectKeyObject(key));
  }

  /** Creates a key. OpenAI's API has no such endpoint: OpenAI creates keys only in its dashboard. */
  @Post()
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(CreateKey) })
  @ApiJsonResponse(
    ProjectApiKeyObject,
    'Creates an API key. Only this response contains its secret',
  )
  async create(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Body() body: unknown,
  ): Promise<ProjectApiKeyObject> {
    const { key, secret } = await this.keys.create(caller, body, ownProject(caller, project));
    return projectKeyObject(key, secret);
  }

  @Get(':id')
  @RequireScope('project:admin')
  @ApiJsonResponse(ProjectApiKeyObject, 'Returns an API key of a project')
  async get(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Param('id') id: string,
  ): Promise<ProjectApiKeyObject> {
    return projectKeyObject(await this.keys.one(caller, id, ownProject(caller, project)));
  }

  @Delete(':id')
  @RequireScope('project:admin')
  @ApiDeletedResponse('organization.project.api_key.deleted', 'Revokes an API key')
  async revoke(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Param('id') id: string,
  ): Promise<Deleted<'organization.project.api_key.deleted'>> {
    await this.keys.revoke(caller, id, ownProject(caller, project));
    return { id, object: 'organization.project.api_key.deleted', deleted: true };
  }
}
