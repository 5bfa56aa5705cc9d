// A fake server for specs of dashboard components in happy-dom. It answers requests to their own
// address.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An error in the API's format. */
export const refusal = (message: string) => ({
  error: { message, type: 'invalid_request_error', param: null, code: null },
});
export const listOf = (data: readonly unknown[], has_more = false) => ({
  object: 'list',
  data,
  has_more,
});

export interface Served {
  /** Requested paths with their queries, in order. */
  readonly paths: string[];
  readonly close: () => void;
}

/**
 * Starts the server.
 * @param answer returns the JSON of a response, or `undefined` for an error. Streams stay open without events.
 */
export async function serve(answer: (url: URL, method: string) => unknown): Promise<Served> {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    paths.push(path);
    if (path.endsWith('/stream')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      return void response.write('retry: 2000\n\n');
    }
    const url = new URL(path, 'http://here');
    void Promise.resolve(answer(url, request.method ?? 'GET')).then((value = refusal(path)) => {
      const refused = typeof value === 'object' && value !== null && 'error' in value;
      response.writeHead(refused ? 400 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(value));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { happyDOM } = window as unknown as { happyDOM: { setURL(url: string): void } };
  happyDOM.setURL(`http://127.0.0.1:${port}/`);
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { paths, close };
}
