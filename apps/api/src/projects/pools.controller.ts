import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { type Page, PoolObject } from '@graft/contracts';
import { Answers, AnswersList, Asks } from '../http/openapi.js';
import { Caller, Needs, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { GrantPool, ModifyPool, PoolGrants } from './pool-grants.service.js';

@ApiTags('graft')
@ApiBearerAuth()
@Controller('v1/pools')
export class PoolsController {
  constructor(private readonly grants: PoolGrants) {}

  @Get()
  @Needs('jobs:read')
  @AnswersList(PoolObject, 'Pools of workers')
  @Asks('name', { type: 'string' })
  list(@Caller() caller: Principal, @Query('name') name: unknown): Promise<Page<PoolObject>> {
    return this.grants.list(caller, name);
  }

  @Get(':id')
  @Needs('jobs:read')
  @Answers(PoolObject, 'A pool, and its last hour')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<PoolObject> {
    return this.grants.get(caller, id);
  }

  @Post(':id')
  @HttpCode(200)
  @Needs('admin')
  @ApiBody({ schema: bodySchema(ModifyPool) })
  @Answers(PoolObject, 'Opens a pool to all projects, or closes it')
  modify(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<PoolObject> {
    return this.grants.modify(caller, id, body);
  }

  @Post(':id/cordon')
  @HttpCode(200)
  @Needs('admin')
  @Answers(PoolObject, 'Starts nothing new on a pool’s workers')
  cordon(@Caller() caller: Principal, @Param('id') id: string): Promise<PoolObject> {
    return this.grants.cordon(caller, id, true);
  }

  @Post(':id/uncordon')
  @HttpCode(200)
  @Needs('admin')
  @Answers(PoolObject, 'Lets a pool’s workers take jobs again')
  uncordon(@Caller() caller: Principal, @Param('id') id: string): Promise<PoolObject> {
    return this.grants.cordon(caller, id, false);
  }

  @Post(':id/grants')
  @HttpCode(200)
  @Needs('admin')
  @ApiBody({ schema: bodySchema(GrantPool) })
  @Answers(PoolObject, 'Lets a project use a pool')
  grant(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<PoolObject> {
    return this.grants.grant(caller, id, body);
  }

  @Delete(':id/grants/:project')
  @Needs('admin')
  @Answers(PoolObject, 'Takes a pool from a project')
  revoke(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('project') project: string,
  ): Promise<PoolObject> {
    return this.grants.revoke(caller, id, project);
  }
}
