import compression from 'compression';
import type { RequestHandler } from 'express';

/**
 * Compresses responses with a known length: JSON of the API and files of the dashboard. Event streams and
 * other bodies of unknown length would wait in the compressor's buffer, and the offsets of a range refer to
 * the uncompressed file. Downloads have types that do not compress.
 */
const compress = compression({
  filter: (request, response) =>
    response.hasHeader('content-length') &&
    !response.hasHeader('content-range') &&
    compression.filter(request, response),
});

export const compressResponse: RequestHandler = (request, response, next) => {
  // The middleware and a download's pipeline add eleven "close" listeners; Node.js warns of a leak above
  // ten.
  response.setMaxListeners(20);
  compress(request, response, next);
};
