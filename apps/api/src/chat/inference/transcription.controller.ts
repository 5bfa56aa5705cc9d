import { Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiConsumes, ApiTags } from '@nestjs/swagger';
import { TranscriptionAnswer, TranscriptionEvent } from '@graft/contracts';
import type { Request, Response } from 'express';
import { Caller, RequireScope, type Principal } from '../../auth/principal.js';
import { ApiJsonOrStreamResponse } from '../../http/openapi.js';
import { bodySchema } from '../../http/parse.js';
import { TranscriptionForm } from './transcription-body.js';
import { TranscriptionService } from './transcription.service.js';

@ApiTags('answers')
@ApiBearerAuth()
@Controller('v1')
export class TranscriptionController {
  constructor(private readonly transcriptions: TranscriptionService) {}

  @Post('audio/transcriptions')
  @HttpCode(200)
  @RequireScope('models:read')
  @ApiConsumes('multipart/form-data')
  @ApiBody({ schema: bodySchema(TranscriptionForm) })
  @ApiJsonOrStreamResponse(
    TranscriptionAnswer,
    TranscriptionEvent,
    'Transcribes audio. The `response_format`s text, srt and vtt return plain text',
  )
  transcribe(
    @Caller() caller: Principal,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.transcriptions.transcribe(caller, request, response);
  }
}
