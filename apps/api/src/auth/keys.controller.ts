import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { bodySchema } from '../http/parse.js';
import { ApiKeysService, CreateKey } from './api-keys.service.js';
import { Caller, Needs, type Principal } from './principal.js';

@ApiTags('keys')
@ApiBearerAuth()
@Controller('v1/keys')
export class KeysController {
  constructor(private readonly keys: ApiKeysService) {}

  @Get()
  @Needs('admin')
  list(@Caller() caller: Principal): Promise<unknown> {
    return this.keys.list(caller);
  }

  /** Any key may ask what it may do, so that a page need not offer what will be refused. */
  @Get('me')
  own(@Caller() caller: Principal): Promise<unknown> {
    return this.keys.own(caller);
  }

  @Post()
  @HttpCode(200)
  @Needs('admin')
  @ApiBody({ schema: bodySchema(CreateKey) })
  create(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    return this.keys.create(caller, body);
  }

  @Delete(':id')
  @Needs('admin')
  revoke(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return this.keys.revoke(caller, id);
  }
}
