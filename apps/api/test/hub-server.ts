// What of the Hugging Face Hub's paths an upload needs: create, preupload, LFS batch, the files themselves, and the commit.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Commit {
  readonly summary: string;
  /** By path: small ones as they came, large ones by their LFS object. */
  readonly files: ReadonlyMap<string, Buffer>;
}

export class Hub {
  readonly commits: Commit[] = [];
  readonly created: unknown[] = [];
  /** Where large files go; null: here. */
  filesAt: string | null = null;
  /** Whether large files are taken and never answered. */
  holds = false;
  /** Larger files go by LFS, in bytes. */
  large = 1000;
  /** How many of those there were, and how many of their senders have left. */
  held = 0;
  left = 0;
  private readonly objects = new Map<string, Buffer>();
  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(token: string): Promise<Hub> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const hub = new Hub(server, `http://127.0.0.1:${port}`);
    server.on('request', (request, response) => {
      void hub.answer(request, token).then(
        ([status, body]) =>
          response
            .writeHead(status, { 'content-type': 'application/json' })
            .end(JSON.stringify(body)),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    });
    return hub;
  }

  stop(): void {
    this.server.close();
  }

  private async answer(request: IncomingMessage, token: string): Promise<[number, unknown]> {
    const body = Buffer.concat(await request.toArray());
    const { url = '', method } = request;
    if (url.startsWith('/lfs/')) {
      this.objects.set(url.slice('/lfs/'.length), body);
      // A token for the hub is none for where its files lie.
      if (request.headers.authorization !== undefined) return [400, { error: 'Unasked-for token' }];
      if (!this.holds) return [200, {}];
      this.held++;
      await once(request.socket, 'close');
      this.left++;
      return [500, {}];
    }
    const said = request.headers.authorization;
    if (said !== `Bearer ${token}`) return [401, { error: `Invalid token: ${said}` }];
    if (method === 'POST' && url === '/api/repos/create') {
      if (this.created.length > 0) return [409, { error: 'You already created this model repo' }];
      this.created.push(JSON.parse(String(body)));
      return [200, { url: `${this.url}/someone/tuned`, id: '1' }];
    }
    if (url === '/api/models/someone/tuned/preupload/main') {
      const { files } = JSON.parse(String(body)) as { files: { path: string; size: number }[] };
      const modes = files.map(({ path, size }) => ({
        path,
        uploadMode: size > this.large ? 'lfs' : 'regular',
      }));
      return [200, { files: modes }];
    }
    if (url === '/someone/tuned.git/info/lfs/objects/batch') {
      const { objects } = JSON.parse(String(body)) as { objects: { oid: string; size: number }[] };
      const places = objects.map((one) => ({
        ...one,
        actions: { upload: { href: `${this.filesAt ?? this.url}/lfs/${one.oid}`, header: {} } },
      }));
      return [200, { transfer: 'basic', objects: places }];
    }
    if (url === '/api/models/someone/tuned/commit/main') {
      this.commits.push(this.commit(String(body)));
      return [
        200,
        { success: true, commitOid: '1', commitUrl: `${this.url}/someone/tuned/commit/1` },
      ];
    }
    return [404, { error: `${method} ${url}` }];
  }

  /** A line each: what it says, and its files. */
  private commit(lines: string): Commit {
    const files = new Map<string, Buffer>();
    let summary = '';
    for (const line of lines.trim().split('\n')) {
      const { key, value } = JSON.parse(line) as {
        key: string;
        value: { summary: string; path: string; content: string; encoding: string; oid: string };
      };
      if (key === 'header') summary = value.summary;
      else if (key === 'file') files.set(value.path, Buffer.from(value.content, 'base64'));
      else files.set(value.path, this.objects.get(value.oid) ?? Buffer.from('missing'));
    }
    return { summary, files };
  }
}
