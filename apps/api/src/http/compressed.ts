import compression from 'compression';
import type { RequestHandler } from 'express';

/**
 * Compresses what is sent whole: answers of the API and files of the dashboard. Event streams and other bodies of unknown
 * length would wait in the compressor's buffer, and the bytes of a range count in the file as it is. Downloads are of
 * types that do not compress.
 */
const compress = compression({
  filter: (request, response) =>
    response.hasHeader('content-length') &&
    !response.hasHeader('content-range') &&
    compression.filter(request, response),
});

export const compressed: RequestHandler = (request, response, next) => {
  // The middleware and the pipeline of a download listen for "close" eleven times, and Node.js warns of a leak beyond ten.
  response.setMaxListeners(20);
  compress(request, response, next);
};
