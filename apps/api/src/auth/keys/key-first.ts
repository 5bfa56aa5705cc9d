import type { RequestHandler } from 'express';
import type { ApiKeysService } from './api-keys.service.js';
import type { Identified } from '../principal.js';
import { bearer } from './secret-format.js';

/** Looks at the key before anything of the body is read: what strangers send is never taken in. */
export function keyFirst(keys: ApiKeysService): RequestHandler {
  return (request: Identified, response, next) => {
    const from = {
      address: request.ip ?? null,
      requestId: String(response.getHeader('x-request-id')),
    };
    keys.authenticate(bearer(request.headers.authorization), from).then(
      (principal) => {
        request.principal = principal;
        next();
      },
      (error: unknown) => {
        // The rest of the body is not waited for.
        response.setHeader('connection', 'close');
        next(error);
      },
    );
  };
}
