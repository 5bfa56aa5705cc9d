import { Controller, Delete, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiConsumes, ApiTags } from '@nestjs/swagger';
import { type Deleted, FileObject, FileRecordObject, type Page } from '@graft/contracts';
import type { Request, Response } from 'express';
import {
  ApiJsonResponse,
  ApiDeletedResponse,
  ApiFileResponse,
  ApiPageResponse,
  ApiQueryParam,
} from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { FilesService } from './files.service.js';
import { sendFile } from './send-file.js';
import { UPLOAD_PURPOSES } from './upload-fields.js';

@ApiTags('files')
@ApiBearerAuth()
@Controller('v1/files')
export class FilesController {
  constructor(private readonly files: FilesService) {}

  @Post()
  @HttpCode(200)
  @RequireScope('files:write')
  @ApiConsumes('multipart/form-data')
  @ApiBody({
    schema: {
      type: 'object',
      required: ['file', 'purpose'],
      properties: {
        file: { type: 'string', format: 'binary' },
        purpose: { type: 'string', enum: [...UPLOAD_PURPOSES] },
        'columns[prompt]': { type: 'string' },
        'columns[completion]': { type: 'string' },
        'columns[text]': { type: 'string' },
        'expires_after[seconds]': { type: 'integer', minimum: 3600, maximum: 2_592_000 },
      },
    },
  })
  @ApiJsonResponse(FileObject, 'Uploads a file and checks it')
  upload(@Caller() caller: Principal, @Req() request: Request): Promise<FileObject> {
    return this.files.upload(caller, request);
  }

  @Get()
  @RequireScope('files:read')
  @ApiPageResponse(FileObject, 'Lists files, newest first by default', {
    limit: 10_000,
    most: 10_000,
  })
  @ApiQueryParam('order', { type: 'string', enum: ['asc', 'desc'], default: 'desc' })
  @ApiQueryParam('purpose', { type: 'string' })
  @ApiQueryParam('sha256', { type: 'string', description: 'Only files with this SHA-256' })
  list(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<FileObject>> {
    return this.files.list(caller, query);
  }

  @Get(':id')
  @RequireScope('files:read')
  @ApiJsonResponse(FileObject, 'Returns a file with the results of its check')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<FileObject> {
    return this.files.get(caller, id);
  }

  @Delete(':id')
  @RequireScope('files:write')
  @ApiDeletedResponse('file', 'Deletes a file')
  remove(@Caller() caller: Principal, @Param('id') id: string): Promise<Deleted<'file'>> {
    return this.files.remove(caller, id);
  }

  @Get(':id/records')
  @RequireScope('files:read')
  @ApiPageResponse(FileRecordObject, 'Lists the records of a training file', {
    limit: 20,
    most: 100,
  })
  records(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<FileRecordObject>> {
    return this.files.records(caller, id, query);
  }

  @Get(':id/content')
  @RequireScope('files:read')
  @ApiFileResponse(['application/octet-stream', 'text/plain'], 'Returns the content of a file')
  async content(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query('encoding') encoding: unknown,
    @Res() response: Response,
  ): Promise<void> {
    await sendFile(response, await this.files.content(caller, id), encoding === 'base64');
  }
}
