// Hub for imports and pushes. It sends downloads in chunks with pauses and sometimes breaks off, so that
// faults occur in the middle of imports.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Hub } from '../../../apps/api/test/hub-server.js';

const PIECES = 6;
const PAUSE_MS = 80;

export const HUB_TOKEN = 'hf_battery';

export class SlowHub {
  /** Whether to break off the current download in the middle. */
  breaks: () => boolean = () => false;
  /** Downloadable folders by repository name. */
  readonly folders = new Map<string, string>();
  /** Server that receives the pushes. */
  pushed!: Hub;

  async open(): Promise<void> {
    this.pushed = await Hub.start(HUB_TOKEN);
    this.pushed.reads = (request, response) => this.answer(request, response);
  }

  close(): void {
    this.pushed.stop();
  }

  private answer({ url = '', method, headers }: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(url.split('?')[0] ?? '');
    const [, listed] = /^\/api\/models\/([\w-]+\/[\w-]+)\/tree\/main/.exec(path) ?? [];
    const [, repo = listed, name = ''] =
      /^\/([\w-]+\/[\w-]+)\/resolve\/main\/([\w.-]+)$/.exec(path) ?? [];
    const folder = this.folders.get(repo ?? '');
    if (folder === undefined) return void response.writeHead(404).end('{}');
    if (listed !== undefined)
      return void response.setHeader('content-type', 'application/json').end(listOf(folder));
    const content = readFileSync(join(folder, name));
    response.setHeader('etag', `"${name}"`).setHeader('accept-ranges', 'bytes');
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
    if (method === 'HEAD') return void response.setHeader('content-length', content.length).end();
    if (from === undefined) return void this.give(response, content);
    const end = to ? Math.min(Number(to), content.length - 1) : content.length - 1;
    response.statusCode = 206;
    response.setHeader('content-range', `bytes ${from}-${end}/${content.length}`);
    void this.give(response, content.subarray(Number(from), end + 1));
  }

  private async give(response: ServerResponse, content: Buffer): Promise<void> {
    response.setHeader('content-length', content.length);
    // The client requests one byte to find out the size.
    if (content.length < PIECES) return void response.end(content);
    const piece = Math.ceil(content.length / PIECES);
    const last = this.breaks() ? Math.floor(content.length / 2) : content.length;
    for (let at = 0; at < last && !response.destroyed; at += piece) {
      response.write(content.subarray(at, Math.min(at + piece, last)));
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    if (last < content.length) response.destroy();
    else response.end();
  }
}

const listOf = (folder: string): string =>
  JSON.stringify(
    readdirSync(folder).map((path) => ({
      type: 'file',
      path,
      size: statSync(join(folder, path)).size,
      oid: path,
    })),
  );
