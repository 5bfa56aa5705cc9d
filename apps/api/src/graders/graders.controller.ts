import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { GradeObject } from '@graft/contracts';
import type { Response } from 'express';
import { ApiJsonResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import type { Grader } from './grader.js';
import { RunGraderBody, ValidateGraderBody } from './grader.js';
import { GradersService } from './graders.service.js';
import { z } from 'zod';

const RUN_GRADER_BODY_EXAMPLE = {
  grader: {
    type: 'text_similarity',
    name: 'Like the reference',
    input: '{{ sample.output_text }}',
    reference: '{{ item.answer }}',
    evaluation_metric: 'rouge_l',
  },
  model_sample: 'It is on its way.',
  item: { answer: 'It is on the way.' },
};

@ApiTags('graders')
@ApiBearerAuth()
@Controller('v1/fine_tuning/alpha/graders')
export class GradersController {
  constructor(private readonly graders: GradersService) {}

  @Post('validate')
  @HttpCode(200)
  @RequireScope('models:read')
  @ApiBody({ schema: bodySchema(ValidateGraderBody) })
  @ApiJsonResponse(z.object({ grader: z.record(z.string(), z.unknown()) }), 'Validates a grader')
  validate(
    @Caller() caller: Principal,
    @Body() body: unknown,
  ): Promise<{ readonly grader: Grader }> {
    return this.graders.validate(caller, body);
  }

  @Post('run')
  @HttpCode(200)
  @RequireScope('models:read')
  @ApiBody({ schema: bodySchema(RunGraderBody, RUN_GRADER_BODY_EXAMPLE) })
  @ApiJsonResponse(GradeObject, 'Runs a grader on a sample')
  async run(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    const left = new AbortController();
    response.on('close', () => left.abort());
    const result = await this.graders.run(caller, body, left.signal);
    if (result) response.json(result);
  }
}
