import { Controller, Get, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { AuditLogObject, type Page } from '@graft/contracts';
import { ApiPageResponse, ApiQueryParam, ApiQueryParams } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { AUDIT_FILTERS, AUDIT_TIMES, AuditLog } from './audit-log.js';

@ApiTags('administration')
@ApiBearerAuth()
@Controller('v1/organization/audit_logs')
export class AuditLogController {
  constructor(private readonly log: AuditLog) {}

  @Get()
  @RequireScope('project:admin')
  @ApiPageResponse(AuditLogObject, 'Lists the entries of the audit log, newest first', {
    limit: 20,
    most: 100,
  })
  @ApiQueryParam('before', {
    type: 'string',
    description: 'ID of the first entry of the current page. Returns the page before it',
  })
  @ApiQueryParams(
    AUDIT_FILTERS.map((name) => [`${name}[]`, { type: 'array', items: { type: 'string' } }]),
  )
  @ApiQueryParam('effective_at', {
    type: 'object',
    properties: Object.fromEntries(AUDIT_TIMES.map((name) => [name, { type: 'integer' }])),
    description: 'Time range in Unix seconds, for example effective_at[gte]=1700000000',
  })
  list(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<AuditLogObject>> {
    return this.log.list(caller, query);
  }
}
