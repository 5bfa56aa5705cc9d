// The Hugging Face Hub's paths for uploads: create, preupload, LFS batch, files and commit.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Commit {
  readonly repo: string;
  readonly summary: string;
  /** Files by path: small ones from the request, large ones from their LFS object. */
  readonly files: ReadonlyMap<string, Buffer>;
}

/** Fields with which a repository was created. */
interface Created {
  readonly name: string;
  readonly organization: string;
  readonly visibility?: string;
}

/** Matches the repository and the action of a request's path. */
const PATH =
  /^\/(?:api\/models\/)?([^/]+\/[^/]+?)(?:\.git\/info\/lfs\/objects)?\/(preupload\/main|batch|commit\/main)$/;

export class Hub {
  readonly commits: Commit[] = [];
  readonly created: Created[] = [];
  /** Upload address of large files; null: this server. */
  filesAt: string | null = null;
  /** Whether uploads of large files are received but get no response. */
  holds = false;
  /** Size in bytes above which files use LFS. */
  large = 1000;
  /** Number of unanswered uploads, and of those whose client has disconnected. */
  held = 0;
  left = 0;
  /** Hooks before and after a request; an error that they throw becomes the response. */
  asked: () => Promise<void> | void = () => undefined;
  done: () => Promise<void> | void = () => undefined;
  /** Handles downloads; null: nothing can be downloaded. */
  reads: RequestListener | null = null;
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
      if (hub.reads && (request.method === 'GET' || request.method === 'HEAD'))
        return hub.reads(request, response);
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
    await this.asked();
    const answer = await this.take(request, body, token);
    await this.done();
    return answer;
  }

  private async take(
    { url = '', method, headers, socket }: IncomingMessage,
    body: Buffer,
    token: string,
  ): Promise<[number, unknown]> {
    if (url.startsWith('/lfs/')) {
      this.objects.set(url.slice('/lfs/'.length), body);
      // The hub's token must not be sent to the file storage.
      if (headers.authorization !== undefined) return [400, { error: 'Unasked-for token' }];
      if (!this.holds) return [200, {}];
      this.held++;
      await once(socket, 'close');
      this.left++;
      return [500, {}];
    }
    const authorization = headers.authorization;
    if (authorization !== `Bearer ${token}`)
      return [401, { error: `Invalid token: ${authorization}` }];
    if (method === 'POST' && url === '/api/repos/create')
      return this.create(JSON.parse(String(body)) as Created);
    const [, repo = '', what] = PATH.exec(url) ?? [];
    if (!this.created.some((one) => nameOf(one) === repo)) return [404, { error: `no ${repo}` }];
    if (what === 'preupload/main') {
      const { files } = JSON.parse(String(body)) as { files: { path: string; size: number }[] };
      const modes = files.map(({ path, size }) => ({
        path,
        uploadMode: size > this.large ? 'lfs' : 'regular',
      }));
      return [200, { files: modes }];
    }
    if (what === 'batch') {
      const { objects } = JSON.parse(String(body)) as { objects: { oid: string; size: number }[] };
      const places = objects.map((one) => ({
        ...one,
        actions: { upload: { href: `${this.filesAt ?? this.url}/lfs/${one.oid}`, header: {} } },
      }));
      return [200, { transfer: 'basic', objects: places }];
    }
    this.commits.push(this.commit(repo, String(body)));
    const commitUrl = `${this.url}/${repo}/commit/1`;
    return [200, { success: true, commitOid: '1', commitUrl }];
  }

  private create(asked: Created): [number, unknown] {
    const repo = nameOf(asked);
    if (this.created.some((one) => nameOf(one) === repo))
      return [409, { error: 'You already created this model repo' }];
    this.created.push(asked);
    return [200, { url: `${this.url}/${repo}`, id: '1' }];
  }

  /** Parses a commit, one JSON object per line: its message and its files. */
  private commit(repo: string, lines: string): Commit {
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
    return { repo, summary, files };
  }
}

const nameOf = ({ organization, name }: Created): string => `${organization}/${name}`;
