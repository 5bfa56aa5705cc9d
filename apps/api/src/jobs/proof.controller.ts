import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { InterruptJob, JobInterruptObject } from '@graft/contracts';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { ApiJsonResponse } from '../http/openapi.js';
import { bodySchema } from '../http/parse.js';
import { JobInterrupts } from './job-interrupts.js';

/** Interrupts jobs on purpose and shows that their results do not change. */
@ApiTags('fine-tuning')
@ApiBearerAuth()
@Controller('v1/fine_tuning/jobs')
export class ProofController {
  constructor(private readonly interrupts: JobInterrupts) {}

  /** Requires `admin`, because a trainer process also serves chats and jobs of other projects. */
  @Post(':id/interrupt')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiBody({ schema: bodySchema(InterruptJob, { force: true }), required: false })
  @ApiJsonResponse(
    JobInterruptObject,
    'Kills the trainer process of a running job with SIGKILL. The job resumes from its newest checkpoint, with the same result',
  )
  interrupt(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<JobInterruptObject> {
    return this.interrupts.interrupt(caller, id, body);
  }
}
