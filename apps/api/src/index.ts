import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { ErrorRequestHandler, NextFunction, Request, Response } from 'express';
import { mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { AppModule } from './app.module.js';
import { ApiKeysService } from './auth/api-keys.service.js';
import { BlobStore } from './blobs/blob-store.js';
import { inUrl, isLoopback, Settings, VERSION, type ApiConfig } from './config.js';
import { writeCredentials } from './credentials.js';
import { dataSource } from './database/data-source.js';
import { startEmbeddedPostgres } from './database/embedded-postgres.js';
import { Dispatcher } from './dispatch/dispatcher.js';
import { openHintQueue } from './dispatch/hint-queue.js';
import { Reconciler } from './dispatch/reconciler.js';
import { Restored } from './dispatch/restored.js';
import { Gateway } from './gateway/gateway.js';
import { JoinTokensService } from './gateway/join-tokens.service.js';
import { gatewaySecurity } from './gateway/security.js';
import { Counters } from './health/counters.js';
import { dashboard, securityHeaders } from './http/dashboard.js';
import { respondWithError } from './http/error.filter.js';
import { jsonBody } from './http/json-body.js';
import { requestId } from './http/request-id.js';
import { log, NestLog } from './log.js';
import { ModelImport } from './models/import.js';
import { Retention } from './retention/retention.js';
import { JobStream } from './stream/job-stream.js';
import { Notifications } from './stream/notifications.js';

export type { ApiConfig } from './config.js';

/** A running control plane. */
export interface RunningApi {
  /** Base URL without `/v1`, e.g. http://127.0.0.1:8080. */
  readonly url: string;
  /** `host:port` of the gateway for workers. */
  readonly grpcUrl: string;
  /** The same for a worker on this host; without TLS there too. */
  readonly localGrpcUrl: string;
  readonly apiKey: string;
  readonly joinToken: string;
  /** What the operator should know about this set-up, a sentence each. */
  readonly warnings: readonly string[];
  close(): Promise<void>;
}

/** Starts everything the control plane consists of, in the order in which the parts need each other. */
export async function startApi(config: ApiConfig): Promise<RunningApi> {
  const security = gatewaySecurity(config);
  await mkdir(config.home, { recursive: true });
  const closing: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of closing.splice(0).reverse()) await step();
  };
  try {
    const embedded = config.databaseUrl ? null : await startEmbeddedPostgres(config.home);
    if (embedded) closing.push(() => embedded.stop());
    const settings = new Settings(config, config.databaseUrl ?? embedded?.url ?? '');
    const source = await dataSource(settings.databaseUrl).initialize();
    closing.push(() => source.destroy());
    await source.runMigrations({ transaction: 'all' });
    const workers = await dataSource(settings.databaseUrl, 'workers').initialize();
    closing.push(() => workers.destroy());
    const queue = await openHintQueue(
      settings.queueUrl,
      settings.databaseUrl,
      settings.queuePrefix,
    );
    closing.push(() => queue.close());
    const app = await NestFactory.create<NestExpressApplication>(
      AppModule.with({ settings, source, workers, queue }),
      {
        logger: new NestLog(),
        bodyParser: false,
        forceCloseConnections: true,
        abortOnError: false,
      },
    );
    closing.push(() => app.close());
    equip(app, settings);
    await app.get(BlobStore).sweep();
    await app.get(Restored).check();
    await app.init();
    await app.get(Notifications).start();
    const gateway = await app.get(Gateway).listen(security);
    await app.listen(settings.port, settings.host);
    const { port } = app.getHttpServer().address() as AddressInfo;
    const url = `http://${inUrl(settings.host)}:${port}`;
    const credentials = await writeCredentials(
      settings,
      { url, grpcUrl: `${security.tls ? 'grpcs' : 'grpc'}://${gateway.url}` },
      app.get(ApiKeysService),
      app.get(JoinTokensService),
    );
    app.get(Dispatcher).start();
    app.get(Reconciler).start();
    app.get(Retention).start();
    await app.get(ModelImport).resumeAll();
    closing.push(async () => app.get(JobStream).endAll());
    const grpcUrl = gateway.url;
    log.info({ url, grpcUrl, tls: security.tls, queue: queue.backend }, 'control plane is up');
    const warnings = warningsOf(settings);
    for (const warning of warnings) log.warn(warning);
    return { url, grpcUrl, localGrpcUrl: gateway.localUrl, ...credentials, warnings, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function warningsOf({ host }: Settings): string[] {
  if (isLoopback(host)) return [];
  return [
    `REST and the dashboard listen on ${host} without TLS: API keys and data travel in the clear. ` +
      'Outside a private network leave out --host and put a reverse proxy with TLS before them',
  ];
}

/** Everything around the routes, outermost first. */
function equip(app: NestExpressApplication, settings: Settings): void {
  const counters = app.get(Counters);
  app.disable('x-powered-by');
  app.set('query parser', 'extended');
  app.use(requestId);
  app.use(securityHeaders);
  app.use((request: Request, response: Response, next: NextFunction) => {
    const end = counters.requests.startTimer({ method: request.method });
    response.on('close', () => end({ status: response.statusCode }));
    next();
  });
  if (settings.dashboardDir) app.use(dashboard(settings.dashboardDir));
  app.use(jsonBody);
  const bodyError: ErrorRequestHandler = (error, request, response, _next) =>
    respondWithError(request, response, error);
  app.use(bodyError);
  const document = new DocumentBuilder()
    .setTitle('Graft')
    .setDescription("OpenAI's files, fine-tuning and chat endpoints, and Graft's own beside them.")
    .setVersion(VERSION)
    .addBearerAuth()
    .build();
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, document));
}
