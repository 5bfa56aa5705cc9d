import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { type Deleted, type Page, ProjectUserObject } from '@graft/contracts';
import { ApiJsonResponse, ApiDeletedResponse, ApiPageResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { AddMember, MembersService, ModifyMember } from './members.service.js';

@ApiTags('administration')
@ApiBearerAuth()
@Controller('v1/organization/projects/:project/users')
export class MembersController {
  constructor(private readonly members: MembersService) {}

  @Get()
  @RequireScope('project:admin')
  @ApiPageResponse(ProjectUserObject, 'Lists the members of a project', { limit: 20, most: 100 })
  list(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<ProjectUserObject>> {
    return this.members.list(caller, project, query);
  }

  @Post()
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(AddMember) })
  @ApiJsonResponse(ProjectUserObject, 'Adds a member to a project')
  add(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Body() body: unknown,
  ): Promise<ProjectUserObject> {
    return this.members.add(caller, project, body);
  }

  @Get(':id')
  @RequireScope('project:admin')
  @ApiJsonResponse(ProjectUserObject, 'Returns a member of a project')
  get(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Param('id') id: string,
  ): Promise<ProjectUserObject> {
    return this.members.get(caller, project, id);
  }

  @Post(':id')
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(ModifyMember) })
  @ApiJsonResponse(ProjectUserObject, 'Changes the name or the role of a member')
  modify(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<ProjectUserObject> {
    return this.members.modify(caller, project, id, body);
  }

  @Delete(':id')
  @RequireScope('project:admin')
  @ApiDeletedResponse(
    'organization.project.user.deleted',
    'Removes a member from a project and revokes the keys of the member',
  )
  remove(
    @Caller() caller: Principal,
    @Param('project') project: string,
    @Param('id') id: string,
  ): Promise<Deleted<'organization.project.user.deleted'>> {
    return this.members.remove(caller, project, id);
  }
}
