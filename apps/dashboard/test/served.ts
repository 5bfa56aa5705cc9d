// For specs of the dashboard's parts in happy-dom: a server that they find at their own address.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A refusal in the API's shape. */
export const refusal = (message: string) => ({
  error: { message, type: 'invalid_request_error', param: null, code: null },
});
export const listOf = (data: readonly unknown[], has_more = false) => ({
  object: 'list',
  data,
  has_more,
});

export interface Served {
  /** Paths with their queries, in the order in which they were asked for. */
  readonly asked: string[];
  readonly close: () => void;
}

/** @param answer JSON, or `undefined` where there is nothing; streams stay open and say nothing */
export async function serve(answer: (asked: URL, method: string) => unknown): Promise<Served> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
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
  return { asked, close };
}
