import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { Needs } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { CreateJoinToken, JoinTokensService } from './join-tokens.service.js';

@ApiTags('graft')
@ApiBearerAuth()
@Controller('v1/join_tokens')
export class JoinTokensController {
  constructor(private readonly tokens: JoinTokensService) {}

  @Get()
  @Needs('admin')
  list(): Promise<unknown> {
    return this.tokens.list();
  }

  @Post()
  @HttpCode(200)
  @Needs('admin')
  @ApiBody({ schema: bodySchema(CreateJoinToken) })
  create(@Body() body: unknown): Promise<unknown> {
    return this.tokens.create(body);
  }

  @Delete(':id')
  @Needs('admin')
  revoke(@Param('id') id: string): Promise<unknown> {
    return this.tokens.revoke(id);
  }
}
