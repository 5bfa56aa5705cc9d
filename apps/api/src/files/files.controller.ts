import { Controller, Delete, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiConsumes, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Caller, Needs, type Principal } from '../auth/principal.js';
import { FilesService } from './files.service.js';
import { sendFile } from './send-file.js';

@ApiTags('files')
@ApiBearerAuth()
@Controller('v1/files')
export class FilesController {
  constructor(private readonly files: FilesService) {}

  @Post()
  @HttpCode(200)
  @Needs('files:write')
  @ApiConsumes('multipart/form-data')
  @ApiBody({
    schema: {
      type: 'object',
      required: ['file', 'purpose'],
      properties: {
        file: { type: 'string', format: 'binary' },
        purpose: { type: 'string', enum: ['fine-tune'] },
        'columns[prompt]': { type: 'string' },
        'columns[completion]': { type: 'string' },
        'columns[text]': { type: 'string' },
        'expires_after[seconds]': { type: 'integer', minimum: 3600, maximum: 2_592_000 },
      },
    },
  })
  upload(@Caller() caller: Principal, @Req() request: Request): Promise<unknown> {
    return this.files.upload(caller, request);
  }

  @Get()
  @Needs('files:read')
  list(@Caller() caller: Principal, @Query() query: Record<string, unknown>): Promise<unknown> {
    return this.files.list(caller, query);
  }

  @Get(':id')
  @Needs('files:read')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return this.files.get(caller, id);
  }

  @Delete(':id')
  @Needs('files:write')
  remove(@Caller() caller: Principal, @Param('id') id: string): Promise<unknown> {
    return this.files.remove(caller, id);
  }

  @Get(':id/records')
  @Needs('files:read')
  records(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: Record<string, unknown>,
  ): Promise<unknown> {
    return this.files.records(caller, id, query);
  }

  @Get(':id/content')
  @Needs('files:read')
  async content(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query('encoding') encoding: unknown,
    @Res() response: Response,
  ): Promise<void> {
    await sendFile(response, await this.files.content(caller, id), encoding === 'base64');
  }
}
