// A trace collector. It parses requests with OpenTelemetry's own schema (otlp/), not with the code that wrote them.
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

interface Value {
  readonly stringValue?: string;
  readonly intValue?: string;
  readonly doubleValue?: number;
}

interface Attribute {
  readonly key: string;
  readonly value: Value;
}

interface OtlpSpan {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly traceState: string;
  readonly name: string;
  readonly kind: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  readonly events: readonly { readonly name: string }[];
  readonly status: { readonly code: string; readonly message: string } | null;
}

interface ExportRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string };
      readonly spans: readonly OtlpSpan[];
    }[];
  }[];
}

export interface ReceivedSpan {
  readonly trace: string;
  readonly id: string;
  readonly parent: string;
  readonly state: string;
  readonly name: string;
  /** Start in Unix milliseconds. */
  readonly start: number;
  readonly end: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly resource: Readonly<Record<string, string | number>>;
  readonly events: readonly string[];
  readonly error: string | null;
}

const INCLUDE = fileURLToPath(new URL('otlp/', import.meta.url));
const SERVICE = 'opentelemetry.proto.collector.trace.v1.TraceService';
const loaded = loadSync('opentelemetry/proto/collector/trace/v1/trace_service.proto', {
  includeDirs: [INCLUDE],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const method = (loaded[SERVICE] as unknown as Record<string, MethodDefinition<object, object>>)[
  'Export'
]!;

export class OtlpCollector {
  /** Spans in order of arrival; a span that was sent twice is listed twice. */
  readonly spans: ReceivedSpan[] = [];
  readonly requests: { readonly path: string; readonly headers: IncomingHttpHeaders }[] = [];
  /** Status with which every request is rejected. */
  refuse: number | null = null;
  /** Called with the spans of a request before the response. */
  done: (spans: readonly ReceivedSpan[]) => Promise<unknown> | void = () => undefined;
  private server: Server | null = null;
  private port = 0;

  static async open(): Promise<OtlpCollector> {
    const collector = new OtlpCollector();
    await collector.start();
    return collector;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts the collector, at the same address each time. */
  async start(): Promise<void> {
    const server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        this.requests.push({ path: request.url ?? '', headers: request.headers });
        if (this.refuse !== null) return void response.writeHead(this.refuse).end();
        const spans = spansIn(plain(Buffer.concat(parts), request.headers));
        this.spans.push(...spans);
        void Promise.resolve(this.done(spans)).then(() =>
          response
            .writeHead(200, { 'content-type': 'application/x-protobuf' })
            .end(method.responseSerialize({})),
        );
      });
    });
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

  /** Returns the spans of a job. */
  of(job: string): ReceivedSpan[] {
    return this.spans.filter(({ attributes }) => attributes['graft.job.id'] === job);
  }
}

const plain = (body: Buffer, { 'content-encoding': encoding }: IncomingHttpHeaders): Buffer =>
  encoding === 'gzip' ? gunzipSync(body) : body;

function spansIn(body: Buffer): ReceivedSpan[] {
  const request = method.requestDeserialize(body) as ExportRequest;
  return request.resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        trace: span.traceId.toString('hex'),
        id: span.spanId.toString('hex'),
        parent: span.parentSpanId.toString('hex'),
        state: span.traceState,
        name: span.name,
        start: Number(BigInt(span.startTimeUnixNano) / 1_000_000n),
        end: Number(BigInt(span.endTimeUnixNano) / 1_000_000n),
        attributes: valuesOf(span.attributes),
        resource: valuesOf(resource.attributes),
        events: span.events.map(({ name }) => name),
        error: span.status?.code === 'STATUS_CODE_ERROR' ? span.status.message : null,
      })),
    ),
  );
}

const valuesOf = (attributes: readonly Attribute[]): Record<string, string | number> =>
  Object.fromEntries(
    attributes.map(({ key, value: { stringValue, intValue, doubleValue } }) => [
      key,
      stringValue ?? (intValue === undefined ? doubleValue! : Number(intValue)),
    ]),
  );
