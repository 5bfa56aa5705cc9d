import { Body, Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { ClassificationObject, EmbeddingsObject } from '@graft/contracts';
import type { Request, Response } from 'express';
import { ApiJsonResponse } from '../../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../../auth/principal.js';
import { bodySchema } from '../../http/parse.js';
import { ClassifyBody, EmbeddingsBody } from './inference-body.js';
import { InferenceService } from './inference.service.js';

const EMBEDDINGS_BODY_EXAMPLE = {
  model: 'minilm',
  input: ['Where is my parcel?', 'Track an order'],
};

const CLASSIFY_BODY_EXAMPLE = { model: 'ft:minilm::abc123', input: 'Where is my parcel?' };

@ApiTags('answers')
@ApiBearerAuth()
@Controller('v1')
export class InferenceController {
  constructor(private readonly inferences: InferenceService) {}

  @Post('embeddings')
  @HttpCode(200)
  @RequireScope('models:read')
  @ApiBody({
    schema: bodySchema(EmbeddingsBody, EMBEDDINGS_BODY_EXAMPLE),
    description: 'Alternatively `multipart/form-data` with `model` and an image as `file`.',
  })
  @ApiJsonResponse(EmbeddingsObject, 'Computes embeddings of texts or images')
  embed(
    @Caller() caller: Principal,
    @Req() request: Request,
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    return this.inferences.embed(caller, { request, body }, response);
  }

  @Post('classify')
  @HttpCode(200)
  @RequireScope('models:read')
  @ApiBody({
    schema: bodySchema(ClassifyBody, CLASSIFY_BODY_EXAMPLE),
    description:
      'Alternatively `multipart/form-data` with `model` and an image or audio file as `file`.',
  })
  @ApiJsonResponse(
    ClassificationObject,
    'Classifies texts, tokens, images or audio, or finds spans, depending on the task of the model',
  )
  classify(
    @Caller() caller: Principal,
    @Req() request: Request,
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    return this.inferences.classify(caller, { request, body }, response);
  }
}
