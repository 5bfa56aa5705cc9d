// Server with the paths of OpenAI's API that the importer reads: pages, keys, range requests and failures.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CHECKPOINTS, CONTENTS, EVALS, FILES, JOBS, OUTPUT_ITEMS, RUNS } from './openai-export.js';

type Json = Readonly<Record<string, unknown>>;

export const OPENAI_KEY = 'sk-test-of-openai';
const PAGE = 2;

export interface OpenaiServer {
  /** Base URL; ends in /v1. */
  readonly url: string;
  /** Method and path of each request so far, without queries. */
  readonly requests: string[];
  /** Values of the received `range` headers. */
  readonly ranges: string[];
  /** Id of a file of which it sends only half, with a complete response. */
  shortOf: string | null;
  /** Closes the connection in the middle of this file's content, once the first half has arrived. */
  breakAt: { readonly file: string; readonly arrived: () => boolean } | null;
  /** Whether to respond with 429 to the next request. */
  busy: boolean;
  /** Whether to honor range requests. Otherwise, it sends the whole file. */
  takesRanges: boolean;
  close(): Promise<void>;
}

export async function startOpenaiServer(): Promise<OpenaiServer> {
  const http = createServer((request, response) => void answer(request, response));
  const server = {
    url: '',
    requests: [] as string[],
    ranges: [] as string[],
    shortOf: null as string | null,
    breakAt: null as OpenaiServer['breakAt'],
    busy: false,
    takesRanges: true,
    close: () =>
      new Promise<void>((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };

  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://x');
    server.requests.push(`${request.method} ${pathname}`);
    const json = (status: number, body: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(body));
    };
    const refuse = (status: number, message: string): void =>
      json(status, { error: { message, type: 'invalid_request_error', param: null, code: null } });
    if (request.headers.authorization !== `Bearer ${OPENAI_KEY}`)
      return refuse(401, 'Incorrect API key provided');
    if (server.busy) {
      server.busy = false;
      return json(429, { error: { message: 'slow down' } }, { 'retry-after-ms': '10' });
    }
    const page = (all: readonly Json[]): void => {
      const after = searchParams.get('after');
      const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1;
      const data = all.slice(from, from + PAGE);
      const ids = { first_id: data[0]?.['id'] ?? null, last_id: data.at(-1)?.['id'] ?? null };
      json(200, { object: 'list', data, ...ids, has_more: from + PAGE < all.length });
    };
    const path = pathname.replace(/^\/v1/, '').split('/').slice(1);
    if (path[0] === 'files' && path[2] === 'content')
      return content(path[1] ?? '', request, response);
    if (path.join('/') === 'files') return page(FILES);
    if (path.join('/') === 'evals') return page(EVALS);
    if (path[0] === 'evals' && path.length === 3)
      return page(RUNS.filter((run) => run['eval_id'] === path[1]));
    if (path[0] === 'evals' && path[4] === 'output_items')
      return page(OUTPUT_ITEMS.filter((item) => item['run_id'] === path[3]));
    if (path.join('/') === 'fine_tuning/jobs') return page(JOBS);
    if (path[3] === 'checkpoints')
      return page(CHECKPOINTS.filter((one) => one['fine_tuning_job_id'] === path[2]));
    if (path[3] === 'events') return page([]);
    refuse(404, `unknown URL ${pathname}`);
  };

  const content = (id: string, request: IncomingMessage, response: ServerResponse): void => {
    const whole = Buffer.from(CONTENTS[id]?.[2] ?? '');
    const { range } = request.headers;
    if (range !== undefined) server.ranges.push(range);
    const from = range !== undefined && server.takesRanges ? Number(/=(\d+)-/.exec(range)?.[1]) : 0;
    const end = server.shortOf === id ? whole.length / 2 : whole.length;
    const rest = whole.subarray(from, end);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-type': 'application/octet-stream',
      'content-length': String(rest.length),
      ...(from > 0 ? { 'content-range': `bytes ${from}-${whole.length - 1}/${whole.length}` } : {}),
    });
    const { file, arrived } = server.breakAt ?? {};
    if (file !== id) return void response.end(rest);
    server.breakAt = null;
    response.write(rest.subarray(0, Math.floor(rest.length / 2)));
    const waiting = setInterval(() => {
      if (!arrived?.()) return;
      clearInterval(waiting);
      response.destroy();
    }, 5);
  };

  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', () => resolve()));
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/v1`;
  return server;
}
