import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { FileRevisionObject, ReviseFile } from '@graft/contracts';
import type { Response } from 'express';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { ApiJsonResponse } from '../http/openapi.js';
import { bodySchema } from '../http/parse.js';
import { FileRevisions } from './file-revisions.js';

const EXAMPLE = {
  records: [
    { line: 52, record: { text: 'My card was declined', label: 'card_declined' } },
    { line: 109, record: null },
  ],
  hold_out_as: 'ftjob-abc123',
};

/** Revisions of files. They are here and not in `files` because they may hold out the same records as a job. */
@ApiTags('files')
@ApiBearerAuth()
@Controller('v1/files')
export class RevisionsController {
  constructor(private readonly revisions: FileRevisions) {}

  @Post(':id/revisions')
  @HttpCode(200)
  @RequireScope('files:write')
  @ApiBody({ schema: bodySchema(ReviseFile, EXAMPLE) })
  @ApiJsonResponse(
    FileRevisionObject,
    'Creates a new version of a training file, with some records replaced or removed',
  )
  create(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
    @Res({ passthrough: true }) response: Response,
  ): Promise<FileRevisionObject> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    return this.revisions.create(caller, id, body, gone.signal);
  }
}
