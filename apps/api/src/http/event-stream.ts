import type { Response } from 'express';

/** Starts a response of server-sent events and disables buffering in proxies. */
export function openStream(response: Response): void {
  response.status(200);
  response.setHeader('content-type', 'text/event-stream; charset=utf-8');
  response.setHeader('cache-control', 'no-cache, no-transform');
  response.setHeader('x-accel-buffering', 'no');
}
