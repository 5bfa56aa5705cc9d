// A server with the W&B and MLflow paths that runs are written to. It stores data as they do: a line of a W&B file is
// placed by its offset, an MLflow metric is stored once, and a parameter never changes.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface WandbRun {
  readonly project: string;
  readonly entity: string;
  readonly displayName: string;
  readonly tags: readonly string[];
  config: Record<string, { value: unknown }>;
  readonly history: string[];
  summary: Record<string, unknown>;
  exitcode: number | null;
  beats: number;
}

export interface MlflowMetric {
  readonly key: string;
  readonly value: number | string;
  readonly timestamp: number;
  readonly step: number;
}

export interface MlflowRun {
  readonly experiment: string;
  readonly name: string;
  readonly tags: Map<string, string>;
  readonly params: Map<string, string>;
  readonly metrics: Map<string, MlflowMetric>;
  status: string;
}

type Json = Record<string, unknown>;
type Pairs = readonly { readonly key: string; readonly value: string }[];

/** Parses JSON as Python writes it, with names for numbers that are not finite. */
export const pythonJson = (text: string): Json =>
  JSON.parse(text.replaceAll(/:(NaN|-?Infinity)\b/g, ':"$1"')) as Json;

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly body: Json | null,
  ) {
    super();
  }
}

export class TrackerServer {
  readonly wandb = new Map<string, WandbRun>();
  readonly mlflow = new Map<string, MlflowRun>();
  readonly experiments = new Map<string, string>();
  /** Requests in order of arrival. */
  readonly requests: { readonly path: string; readonly authorization: string }[] = [];
  /** Maximum number of concurrent requests. */
  mostAtOnce = 0;
  /** Called when a request arrives, before it is processed. */
  asked: () => Promise<unknown> | void = () => undefined;
  /** Called when a request is processed, before the response. */
  done: (path: string) => Promise<unknown> | void = () => undefined;
  /** Status and body with which every request is rejected. */
  refuse: { readonly status: number; readonly body: Json | null } | null = null;
  /** Jobs whose runs the key must not access. */
  readonly forbidden = new Set<string>();
  private open = 0;
  private server: Server | null = null;
  private port = 0;

  static async open(): Promise<TrackerServer> {
    const tracker = new TrackerServer();
    await tracker.start();
    return tracker;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts the server, at the same address each time. */
  async start(): Promise<void> {
    const server = createServer((request, response) => void this.answer(request, response));
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
  }

  async stop(): Promise<void> {
    const { server } = this;
    this.server = null;
    server?.closeAllConnections();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.open);
    response.on('close', () => this.open--);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const path = request.url ?? '';
    // Files of the official client, which no test reads.
    if (request.method === 'PUT') return void response.end();
    this.requests.push({ path, authorization: request.headers.authorization ?? '' });
    const send = (status: number, body: Json | null): void =>
      void response
        .writeHead(status, { 'content-type': 'application/json' })
        .end(JSON.stringify(body));
    try {
      await this.asked();
      if (this.refuse) throw new Refusal(this.refuse.status, this.refuse.body);
      const body = this.take(path, JSON.parse(Buffer.concat(chunks).toString() || '{}') as Json);
      await this.done(path);
      send(200, body);
    } catch (error) {
      if (error instanceof Refusal) send(error.status, error.body);
      else send(500, { error: String(error) });
    }
  }

  private take(path: string, body: Json): Json {
    const [, stream] = /^\/files\/(.*)\/file_stream$/.exec(path) ?? [];
    if (stream !== undefined) return this.fileStream(stream, body);
    if (path === '/graphql')
      return String(body['query']).includes('createRunFiles')
        ? this.createRunFiles(body['variables'] as Json)
        : this.upsertBucket(body['variables'] as Json);
    const [, call = ''] = /^\/api\/2\.0\/mlflow\/(.*)$/.exec(path) ?? [];
    return this.mlflowCall(call, body);
  }

  private upsertBucket({ name, project, entity, displayName, config, tags }: Json): Json {
    const key = String(name);
    const run = this.wandb.get(key) ?? {
      project: String(project),
      entity: String(entity ?? 'own'),
      displayName: String(displayName),
      tags: tags as string[],
      config: {},
      history: [],
      summary: {},
      exitcode: null,
      beats: 0,
    };
    const inserted = !this.wandb.has(key);
    if (config !== null) run.config = JSON.parse(String(config)) as WandbRun['config'];
    this.wandb.set(key, run);
    const bucket = {
      id: `id-${key}`,
      name: key,
      displayName: run.displayName,
      project: { id: 'p', name: run.project, entity: { id: 'e', name: run.entity } },
      historyLineCount: run.history.length,
    };
    return { data: { upsertBucket: { bucket, inserted } } };
  }

  private createRunFiles({ run, files }: Json): Json {
    const taken = (files as string[]).map((name) => ({ name, uploadUrl: `${this.url}/${name}` }));
    return { data: { createRunFiles: { runID: run, uploadHeaders: [], files: taken } } };
  }

  private fileStream(stream: string, body: Json): Json {
    const [entity, project, name = ''] = stream.split('/').map(decodeURIComponent);
    const run = this.wandb.get(name);
    if (!run || run.entity !== entity || run.project !== project)
      throw new Refusal(404, { error: 'run not found' });
    if (this.forbidden.has(name)) throw new Refusal(403, { error: 'permission denied' });
    const files = (body['files'] ?? {}) as Record<string, { offset: number; content: string[] }>;
    if (Object.keys(files).length === 0) run.beats++;
    const history = files['wandb-history.jsonl'];
    if (history && history.offset > run.history.length) throw new Refusal(400, { error: 'a gap' });
    history?.content.forEach((line, n) => (run.history[history.offset + n] = line));
    const [summary] = files['wandb-summary.json']?.content ?? [];
    if (summary !== undefined) run.summary = pythonJson(summary);
    if (body['complete'] === true) run.exitcode = Number(body['exitcode']);
    return {};
  }

  private mlflowCall(call: string, body: Json): Json {
    const [, name] = /^experiments\/get-by-name\?experiment_name=(.*)$/.exec(call) ?? [];
    if (name !== undefined) {
      const id = this.experiments.get(decodeURIComponent(name));
      if (id !== undefined) return { experiment: { experiment_id: id, lifecycle_stage: 'active' } };
      throw new Refusal(404, { error_code: 'RESOURCE_DOES_NOT_EXIST', message: 'no such name' });
    }
    switch (call) {
      case 'experiments/create': {
        const id = String(this.experiments.size + 1);
        this.experiments.set(String(body['name']), id);
        return { experiment_id: id };
      }
      case 'runs/search': {
        const [, tag = '', value] = /^tags\.`(.*)` = '(.*)'$/.exec(String(body['filter'])) ?? [];
        const experiments = body['experiment_ids'] as string[];
        const runs = [...this.mlflow]
          .filter(([, run]) => experiments.includes(run.experiment) && run.tags.get(tag) === value)
          .map(([id]) => ({ info: { run_id: id } }));
        return runs.length > 0 ? { runs } : {};
      }
      case 'runs/create': {
        const id = `run${this.mlflow.size}`;
        this.mlflow.set(id, {
          experiment: String(body['experiment_id']),
          name: String(body['run_name']),
          tags: new Map((body['tags'] as Pairs).map(({ key, value }) => [key, value])),
          params: new Map(),
          metrics: new Map(),
          status: 'RUNNING',
        });
        return { run: { info: { run_id: id } } };
      }
    }
    const run = this.mlflow.get(String(body['run_id']));
    if (!run)
      throw new Refusal(404, { error_code: 'RESOURCE_DOES_NOT_EXIST', message: 'no such run' });
    if (this.forbidden.has(run.tags.get('graft.job_id') ?? ''))
      throw new Refusal(403, { error_code: 'PERMISSION_DENIED', message: 'no right to this run' });
    return this.mlflowRun(call, run, body);
  }

  private mlflowRun(call: string, run: MlflowRun, body: Json): Json {
    switch (call) {
      case 'runs/log-batch': {
        for (const { key, value } of (body['params'] ?? []) as Pairs) {
          if ((run.params.get(key) ?? value) !== value)
            throw new Refusal(400, { error_code: 'INVALID_PARAMETER_VALUE', message: key });
          run.params.set(key, value);
        }
        for (const metric of (body['metrics'] ?? []) as MlflowMetric[])
          run.metrics.set(JSON.stringify(metric), metric);
        return {};
      }
      case 'runs/set-tag':
        run.tags.set(String(body['key']), String(body['value']));
        return {};
      case 'runs/update':
        run.status = String(body['status']);
        return { run_info: {} };
    }
    throw new Refusal(404, { error_code: 'ENDPOINT_NOT_FOUND', message: call });
  }
}
