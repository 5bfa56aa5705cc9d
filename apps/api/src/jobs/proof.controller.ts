import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import {
  InterruptJob,
  JobInterruptObject,
  JobReceiptObject,
  ReceiptComparisonObject,
} from '@graft/contracts';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { ApiJsonResponse, ApiQueryParam } from '../http/openapi.js';
import { bodySchema } from '../http/parse.js';
import { JobInterrupts } from './job-interrupts.js';
import { JobReceipts } from './job-receipts.js';

/** Interrupts jobs on purpose and shows that their results do not change. */
@ApiTags('fine-tuning')
@ApiBearerAuth()
@Controller('v1/fine_tuning/jobs')
export class ProofController {
  constructor(
    private readonly interrupts: JobInterrupts,
    private readonly receipts: JobReceipts,
  ) {}

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

  @Get(':id/receipt')
  @RequireScope('jobs:read')
  @ApiJsonResponse(
    JobReceiptObject,
    'Returns the receipt of a job: inputs, attempts, checkpoints and results by SHA-256',
  )
  receipt(@Caller() caller: Principal, @Param('id') id: string): Promise<JobReceiptObject> {
    return this.receipts.of(caller, id);
  }

  @Get(':id/receipt/comparison')
  @RequireScope('jobs:read')
  @ApiJsonResponse(
    ReceiptComparisonObject,
    'Compares the receipts of two jobs: which inputs are equal, and whether the weights are, byte for byte',
  )
  @ApiQueryParam('with', { type: 'string', description: 'ID of the other job' })
  compare(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: Record<string, unknown>,
  ): Promise<ReceiptComparisonObject> {
    return this.receipts.compare(caller, id, query);
  }
}
