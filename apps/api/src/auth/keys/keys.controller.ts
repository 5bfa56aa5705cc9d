import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { ApiKeyObject, type Deleted, OwnKeyObject, type Page } from '@graft/contracts';
import { bodySchema, pageQuery, pageInMemory } from '../../http/parse.js';
import { ApiKeysService, CreateKey } from './api-keys.service.js';
import { keyObject } from './key-objects.js';
import { ApiJsonResponse, ApiDeletedResponse, ApiPageResponse } from '../../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../principal.js';

@ApiTags('keys')
@ApiBearerAuth()
@Controller('v1/keys')
export class KeysController {
  constructor(private readonly keys: ApiKeysService) {}

  @Get()
  @RequireScope('project:admin')
  @ApiPageResponse(ApiKeyObject, 'Lists the API keys of the project', {
    limit: 10_000,
    most: 10_000,
  })
  async list(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<ApiKeyObject>> {
    const page = pageQuery(query, 10_000, 10_000);
    return pageInMemory(await this.keys.list(caller), page, (key) => keyObject(key));
  }

  /** Any key may call this, so that a page can hide what the key may not do. */
  @Get('me')
  @ApiJsonResponse(OwnKeyObject, 'Returns the API key of the request with its scopes and project')
  own(@Caller() caller: Principal): Promise<OwnKeyObject> {
    return this.keys.own(caller);
  }

  @Post()
  @HttpCode(200)
  @RequireScope('project:admin')
  @ApiBody({ schema: bodySchema(CreateKey) })
  @ApiJsonResponse(ApiKeyObject, 'Creates an API key. Only this response contains its secret')
  async create(@Caller() caller: Principal, @Body() body: unknown): Promise<ApiKeyObject> {
    const { key, secret } = await this.keys.create(caller, body);
    return keyObject(key, secret);
  }

  @Delete(':id')
  @RequireScope('project:admin')
  @ApiDeletedResponse('graft.api_key', 'Revokes an API key')
  revoke(@Caller() caller: Principal, @Param('id') id: string): Promise<Deleted<'graft.api_key'>> {
    return this.keys.revoke(caller, id);
  }
}
