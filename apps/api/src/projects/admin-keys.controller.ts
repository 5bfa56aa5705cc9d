import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { AdminApiKeyObject, type Deleted, type Page, parseBody } from '@graft/contracts';
import { z } from 'zod';
import { ApiKeysService, DEFAULT_PROJECT } from '../auth/keys/api-keys.service.js';
import { adminKeyObject } from '../auth/keys/key-objects.js';
import {
  ApiJsonResponse,
  ApiDeletedResponse,
  ApiPageResponse,
  ApiQueryParam,
} from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { unix } from '../ids.js';
import { bodySchema, pageQuery, pageInMemory } from '../http/parse.js';

const CreateAdminKey = z.strictObject({
  name: z.string().min(1).max(100),
  expires_in_seconds: z.int().min(1).max(315_360_000).nullish(),
});

/** Administrator keys of the installation. */
@ApiTags('administration')
@ApiBearerAuth()
@Controller('v1/organization/admin_api_keys')
export class AdminKeysController {
  constructor(
    private readonly keys: ApiKeysService,
    private readonly database: Database,
  ) {}

  @Get()
  @RequireScope('admin')
  @ApiPageResponse(AdminApiKeyObject, 'Lists the administrator keys of the installation', {
    limit: 20,
    most: 100,
  })
  @ApiQueryParam('order', { type: 'string', enum: ['asc', 'desc'], default: 'asc' })
  async list(@Query() query: Record<string, unknown>): Promise<Page<AdminApiKeyObject>> {
    const keys = await this.keys.admins();
    const ordered = query['order'] === 'desc' ? keys : keys.reverse();
    return pageInMemory(ordered, pageQuery(query, 20, 100), (key) => adminKeyObject(key));
  }

  @Post()
  @HttpCode(200)
  @RequireScope('admin')
  @ApiBody({ schema: bodySchema(CreateAdminKey) })
  @ApiJsonResponse(
    AdminApiKeyObject,
    'Creates an administrator key. Only this response contains its secret',
  )
  async create(@Caller() caller: Principal, @Body() body: unknown): Promise<AdminApiKeyObject> {
    const { name, expires_in_seconds: seconds } = parseBody(CreateAdminKey, body);
    const { key, secret } = await this.keys.create(
      // Administrator keys belong to the installation, not to a member.
      { ...caller, memberId: null },
      {
        name,
        scopes: ['admin'],
        ...(seconds ? { expires_at: unix(await this.database.now()) + seconds } : {}),
      },
      DEFAULT_PROJECT,
    );
    return adminKeyObject(key, secret);
  }

  @Get(':id')
  @RequireScope('admin')
  @ApiJsonResponse(AdminApiKeyObject, 'Returns an administrator key')
  async get(@Param('id') id: string): Promise<AdminApiKeyObject> {
    return adminKeyObject(await this.keys.admin(id));
  }

  @Delete(':id')
  @RequireScope('admin')
  @ApiDeletedResponse('organization.admin_api_key.deleted', 'Revokes an administrator key')
  async revoke(
    @Caller() caller: Principal,
    @Param('id') id: string,
  ): Promise<Deleted<'organization.admin_api_key.deleted'>> {
    await this.keys.admin(id);
    await this.keys.revoke(caller, id, null);
    return { id, object: 'organization.admin_api_key.deleted', deleted: true };
  }
}
