import type { RequestHandler } from 'express';
import type { ApiKeysService } from './api-keys.service.js';
import type { AuthenticatedRequest } from '../principal.js';
import { bearer } from './secret-format.js';

/** Checks the API key before any of the body is read, so that unauthenticated bodies are never accepted. */
export function authenticateFirst(keys: ApiKeysService): RequestHandler {
  return (request: AuthenticatedRequest, response, next) => {
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
        // Close the connection instead of waiting for the rest of the body.
        response.setHeader('connection', 'close');
        next(error);
      },
    );
  };
}
