import { Catch, HttpException, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import {
  DomainError,
  grouped,
  MAX_BODY_BYTES,
  type ErrorBody,
  type ErrorCode,
} from '@graft/contracts';
import type { Request, Response } from 'express';
import { isDependency, faultOf, toOutageError } from '../faults.js';
import { log } from '../log.js';
import { BODY_ERROR } from './json-body.js';

/** Converts every exception into an error response in the format of the API. */
@Catch()
export class ErrorFilter implements ExceptionFilter {
  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    respondWithError(http.getRequest<Request>(), http.getResponse<Response>(), error);
  }
}

export function respondWithError(request: Request, response: Response, error: unknown): void {
  const domain = asDomainError(error, request);
  const about = { err: error, path: request.path, requestId: response.getHeader('x-request-id') };
  if (domain.code === 'internal_error') log.error(about, 'request failed');
  else if (domain !== error && isDependency(faultOf(error, 'own')))
    log.warn(about, 'request failed: a dependency of the server is unavailable');
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // OpenAI's SDKs retry 409, 429 and 5xx. A retry does not resolve a conflict or an exceeded quota, and a
  // request that crashed its trainer process would crash the next one.
  const lasting = domain.code === 'insufficient_quota' || domain.code === 'crash';
  if ([409, 507].includes(domain.status) || lasting) response.setHeader('x-should-retry', 'false');
  if (domain.retryAfterSeconds !== null)
    response.setHeader('retry-after', String(domain.retryAfterSeconds));
  if (domain.status === 401) response.setHeader('www-authenticate', 'Bearer');
  response.status(domain.status).json(domain.body() satisfies ErrorBody);
}

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid_value',
  401: 'invalid_api_key',
  403: 'insufficient_scope',
  404: 'not_found',
  409: 'conflict',
  413: 'request_too_large',
  415: 'unsupported',
  429: 'rate_limit_exceeded',
  503: 'unavailable',
};

function asDomainError(error: unknown, request: Request): DomainError {
  if (error instanceof DomainError) return error;
  if (/^(22021|22P05|22003)$/.test(String((error as { code?: unknown } | null)?.code))) {
    return new DomainError(
      'invalid_value',
      'a value contains characters or numbers that cannot be stored',
    );
  }
  const status =
    error instanceof HttpException
      ? error.getStatus()
      : Number((error as { status?: unknown } | null)?.status);
  const type = (error as { type?: unknown } | null)?.type;
  if (type === 'entity.parse.failed')
    return new DomainError('invalid_json', 'the body is not valid JSON');
  if (type === 'entity.too.large')
    return new DomainError(
      'request_too_large',
      `the body must have at most ${grouped(MAX_BODY_BYTES)} bytes`,
    );
  if (type === BODY_ERROR) return new DomainError('invalid_json', (error as Error).message);
  if (status === 404)
    return new DomainError('not_found', `unknown URL: ${request.method} ${request.path}`);
  const code = BY_STATUS[status];
  if (code) return new DomainError(code, (error as Error).message);
  const outage = toOutageError(error);
  if (outage) return outage;
  return new DomainError(
    'internal_error',
    'internal error; the server log has the details under this request id',
  );
}
