import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { type Deleted, JoinTokenObject, type Page } from '@graft/contracts';
import { ApiJsonResponse, ApiDeletedResponse, ApiPageResponse } from '../../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../principal.js';
import { bodySchema, pageQuery } from '../../http/parse.js';
import { CreateJoinToken, JoinTokensService } from './join-tokens.service.js';

@ApiTags('graft')
@ApiBearerAuth()
@Controller('v1/join_tokens')
export class JoinTokensController {
  constructor(private readonly tokens: JoinTokensService) {}

  @Get()
  @RequireScope('admin')
  @ApiPageResponse(JoinTokenObject, 'Lists the join tokens of workers', {
    limit: 10_000,
    most: 10_000,
  })
  list(@Query() query: Record<string, unknown>): Promise<Page<JoinTokenObject>> {
    return this.tokens.list(pageQuery(query, 10_000, 10_000));
  }

  @Post()
  @HttpCode(200)
  @RequireScope('admin')
  @ApiBody({ schema: bodySchema(CreateJoinToken) })
  @ApiJsonResponse(JoinTokenObject, 'Creates a join token. Only this response contains its secret')
  create(@Caller() caller: Principal, @Body() body: unknown): Promise<JoinTokenObject> {
    return this.tokens.create(caller, body);
  }

  @Delete(':id')
  @RequireScope('admin')
  @ApiDeletedResponse('graft.join_token', 'Revokes a join token')
  revoke(
    @Caller() caller: Principal,
    @Param('id') id: string,
  ): Promise<Deleted<'graft.join_token'>> {
    return this.tokens.revoke(caller, id);
  }
}
