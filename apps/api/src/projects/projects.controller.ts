import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { type Page, ProjectDeletionObject, ProjectObject } from '@graft/contracts';
import { ApiJsonResponse, ApiPageResponse, ApiQueryParam } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { ProjectDeletions } from './project-deletion.service.js';
import { CreateProject, ModifyProject, ProjectsService } from './projects.service.js';

@ApiTags('administration')
@ApiBearerAuth()
@Controller('v1/organization/projects')
export class ProjectsController {
  constructor(
    private readonly projects: ProjectsService,
    private readonly deletions: ProjectDeletions,
  ) {}

  @Get()
  @RequireScope('project:admin')
  @ApiPageResponse(ProjectObject, 'Lists projects', { limit: 20, most: 100 })
  @ApiQueryParam('include_archived', { type: 'boolean', default: false })
  list(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<ProjectObject>> {
    return this.projects.list(caller, query);
  }

  @Post()
  @HttpCode(200)
  @RequireScope('admin')
  @ApiBody({ schema: bodySchema(CreateProject) })
  @ApiJsonResponse(ProjectObject, 'Creates a project')
  create(@Caller() caller: Principal, @Body() body: unknown): Promise<ProjectObject> {
    return this.projects.create(caller, body);
  }

  @Get(':id')
  @RequireScope('project:admin')
  @ApiJsonResponse(ProjectObject, 'Returns a project')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<ProjectObject> {
    return this.projects.get(caller, id);
  }

  @Post(':id')
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(ModifyProject) })
  @ApiJsonResponse(ProjectObject, 'Changes the name, weight or limits of a project')
  modify(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<ProjectObject> {
    return this.projects.modify(caller, id, body);
  }

  @Post(':id/archive')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiJsonResponse(
    ProjectObject,
    'Archives a project: disables its keys and cancels its unfinished jobs',
  )
  archive(@Caller() caller: Principal, @Param('id') id: string): Promise<ProjectObject> {
    return this.projects.archive(caller, id);
  }

  @Get(':id/deletion')
  @RequireScope('admin')
  @ApiJsonResponse(
    ProjectDeletionObject,
    'Returns what the deletion of a project deletes and keeps, and when',
  )
  deletion(@Param('id') id: string): Promise<ProjectDeletionObject> {
    return this.deletions.preview(id);
  }

  @Delete(':id')
  @RequireScope('admin')
  @ApiJsonResponse(ProjectObject, 'Archives a project and deletes it after a delay')
  remove(@Caller() caller: Principal, @Param('id') id: string): Promise<ProjectObject> {
    return this.deletions.remove(caller, id);
  }

  @Post(':id/restore')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiJsonResponse(ProjectObject, 'Restores a deleted project')
  restore(@Caller() caller: Principal, @Param('id') id: string): Promise<ProjectObject> {
    return this.deletions.restore(caller, id);
  }
}
