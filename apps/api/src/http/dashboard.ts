import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { RequestHandler, Response } from 'express';
import expressStaticGzip from 'express-static-gzip';

const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  "img-src 'self' data: blob:",
  // audio of training data, embedded in its records
  "media-src 'self' data:",
  "style-src 'self'",
  "script-src 'self'",
  "connect-src 'self'",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

/** Policy of Swagger UI, which uses inline styles. */
const DOCS_POLICY = CONTENT_SECURITY_POLICY.replace(
  "style-src 'self'",
  "style-src 'self' 'unsafe-inline'",
);

/** Paths of the API: an unknown one returns a JSON 404, not the dashboard. */
const API_PATH = /^\/(v1|docs|docs-json|healthz|readyz|metrics)(\/|$|-)/;

export const securityHeaders: RequestHandler = (_request, response, next) => {
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('referrer-policy', 'no-referrer');
  response.setHeader('x-frame-options', 'DENY');
  next();
};

export const docsHeaders: RequestHandler = (_request, response, next) => {
  response.setHeader('content-security-policy', DOCS_POLICY);
  next();
};

/**
 * Serves the built dashboard (a single-page application): its files, and index.html for every deep link.
 */
export function dashboard(dir: string): RequestHandler {
  const root = resolve(dir);
  const index = join(root, 'index.html');
  // The build compresses its files with Brotli.
  const files = expressStaticGzip(root, {
    enableBrotli: true,
    index: false,
    serveStatic: {
      index: false,
      redirect: false,
      setHeaders: (response, path) =>
        dashboardHeaders(response as Response, path.includes('/assets/')),
    },
  });
  return (request, response, next) => {
    const page = request.method === 'GET' || request.method === 'HEAD';
    if (!page || API_PATH.test(request.path)) return next();
    files(request, response, () => {
      if (/\.[a-z0-9]{2,5}$/i.test(request.path) || !existsSync(index)) return next();
      dashboardHeaders(response, false);
      response.sendFile(index);
    });
  };
}

function dashboardHeaders(response: Response, immutable: boolean): void {
  response.setHeader('content-security-policy', CONTENT_SECURITY_POLICY);
  response.setHeader(
    'cache-control',
    immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
  );
}
