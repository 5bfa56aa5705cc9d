import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { SwaggerModule } from '@nestjs/swagger';
import { openApiDocument } from './http/openapi.js';
import type { ErrorRequestHandler, NextFunction, Request, Response } from 'express';
import { mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { AppModule } from './app.module.js';
import { ApiKeysService } from './auth/keys/api-keys.service.js';
import { authenticateFirst } from './auth/keys/authenticate-first.js';
import { BatchRunner } from './batches/batch-runner.js';
import { BlobStore } from './blobs/blob-store.js';
import { Readiness } from './readiness.js';
import { inUrl, isLoopback, Settings, VERSION, type ApiConfig } from './config.js';
import { writeCredentials, type Credentials } from './credentials.js';
import { dataSource } from './database/data-source.js';
import { drain } from './drain.js';
import { migrate } from './database/migrate.js';
import { whileNoOtherStarts } from './database/start-lock.js';
import { startEmbeddedPostgres } from './database/embedded-postgres.js';
import { Dispatcher } from './dispatch/dispatcher.js';
import { openDispatchQueue } from './queue/dispatch-queue.js';
import { LeaseExpiry } from './dispatch/lease-expiry.js';
import { Preemptor } from './dispatch/preemptor.js';
import { Reconciler } from './dispatch/reconciler.js';
import { RestoreGuard } from './lifecycle/restore-guard.js';
import { Gateways } from './relay/gateways.js';
import { RelayKey } from './relay/relay-key.js';
import { RelayServer } from './relay/relay-server.js';
import { WorkerGrpcServer } from './worker-service/server.js';
import { JoinTokensService } from './auth/keys/join-tokens.service.js';
import { serverSecurity } from './worker-service/security.js';
import { Counters } from './metrics/counters.js';
import { compressResponse } from './http/compress-response.js';
import { dashboard, docsHeaders, securityHeaders } from './http/dashboard.js';
import { respondWithError } from './http/error.filter.js';
import { jsonBody } from './http/json-body.js';
import { OpenRequests } from './http/open-requests.js';
import { requestId } from './http/request-id.js';
import { rejectSlowBodies } from './http/slow-bodies.js';
import { log, NestLog } from './log.js';
import { BackgroundResponses } from './chat/responses/background-responses.js';
import { EvalRunner } from './evals/eval-runner.js';
import { ModelImport } from './models/imports/import.js';
import { Retention } from './retention/retention.js';
import { missingSandboxFeatures } from './sandbox/reader-sandbox.js';
import { ExternalScaler } from './scaling/external-scaler.js';
import { JobStream } from './stream/job-stream.js';
import { WakeUps } from './wake/wake-ups.js';
import { WebhookDeliverer } from './webhooks/webhook-deliverer.js';
import { RunSender } from './integrations/run-sender.js';
import { TraceSender } from './traces/trace-sender.js';

export type { ApiConfig } from './config.js';

/** A running control plane. */
export interface RunningApi {
  /** Base URL without `/v1`, e.g. http://127.0.0.1:8080. */
  readonly url: string;
  /** `host:port` of the gateway for workers. */
  readonly grpcUrl: string;
  /** `host:port` for a worker on this host. It has no TLS, even if the gateway has. */
  readonly localGrpcUrl: string;
  /** `host:port` of the external scaler for KEDA; null if it does not listen. */
  readonly scalerUrl: string | null;
  /** `null` if another home has the first key or join token of the installation. */
  readonly apiKey: string | null;
  readonly joinToken: string | null;
  /** Warnings about the configuration for the operator, one sentence each. */
  readonly warnings: readonly string[];
  /** Rejects new requests and lets running ones finish within the configured time. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** Starts the parts of the control plane, in the order in which they depend on each other. */
export async function startApi(config: ApiConfig): Promise<RunningApi> {
  const security = serverSecurity(config);
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
    const queue = await whileNoOtherStarts(settings.databaseUrl, async () => {
      await migrate(settings.databaseUrl, (migration, seconds) =>
        log.info({ migration, seconds }, 'migrated'),
      );
      return openDispatchQueue(settings.queueUrl, settings.databaseUrl, settings.queuePrefix);
    });
    closing.push(() => queue.close());
    const workers = await dataSource(settings.databaseUrl, 'workers').initialize();
    closing.push(() => workers.destroy());
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
    await app.get(RestoreGuard).check();
    await app.get(BlobStore).open();
    await app.get(BlobStore).sweep();
    await app.init();
    await app.get(WakeUps).start();
    await app.get(RelayKey).load();
    const { credentials: relay, certificate } = security;
    const address = await app.get(RelayServer).listen(relay);
    await app.get(Gateways).start({ address, certificate });
    const workerServer = await app.get(WorkerGrpcServer).listen(security);
    const scalerUrl = await app.get(ExternalScaler).listen(security.credentials);
    await app.listen(settings.port, settings.host);
    const { port } = app.getHttpServer().address() as AddressInfo;
    const url = `http://${inUrl(settings.host)}:${port}`;
    const grpcUrl = `${security.tls ? 'grpcs' : 'grpc'}://${workerServer.url}`;
    const credentials = await whileNoOtherStarts(settings.databaseUrl, () =>
      writeCredentials(
        settings,
        { url, grpcUrl },
        embedded !== null,
        app.get(ApiKeysService),
        app.get(JoinTokensService),
      ),
    );
    beginWork(app);
    app.get(Readiness).state = 'ok';
    closing.push(async () => app.get(JobStream).endAll());
    log.info({ url, grpcUrl, tls: security.tls, queue: queue.backend }, 'control plane is up');
    const warnings = warningsOf(settings, credentials);
    logWarnings(warnings);
    return {
      url,
      grpcUrl: workerServer.url,
      localGrpcUrl: workerServer.localUrl,
      scalerUrl,
      ...credentials,
      warnings,
      drain: () => drain(app, settings.drainMs),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Starts the background work of the process. */
function beginWork(app: NestExpressApplication): void {
  app.get(Dispatcher).start();
  app.get(LeaseExpiry).start();
  app.get(Preemptor).start();
  app.get(Reconciler).start();
  app.get(Retention).start();
  app.get(ModelImport).watch();
  app.get(EvalRunner).watch();
  app.get(BackgroundResponses).watch();
  app.get(BatchRunner).watch();
  app.get(WebhookDeliverer).watch();
  app.get(RunSender).watch();
  app.get(TraceSender).watch();
}

function warningsOf({ host, home }: Settings, { apiKey }: Credentials): string[] {
  const warnings: string[] = [];
  if (apiKey === null)
    warnings.push(
      `no credentials.json was written: ${home} has no valid administrator's key, and the installation already has one elsewhere. ` +
        'Use the key of the process that was started first, or create a key with `graft-api admin-key`',
    );
  if (isLoopback(host)) return warnings;
  return [
    ...warnings,
    `REST and the dashboard listen on ${host} without TLS: API keys and data are sent unencrypted. ` +
      'Outside a private network, omit --host and use a reverse proxy with TLS',
  ];
}

function logWarnings(warnings: readonly string[]): void {
  for (const warning of warnings) log.warn(warning);
  const missing = missingSandboxFeatures();
  if (missing.length > 0)
    log.warn(
      { missing },
      "some limits on reading users' files are not available on this system; see docs/guides/security.md",
    );
}

/** Installs the middleware around the routes, outermost first. */
function equip(app: NestExpressApplication, settings: Settings): void {
  const counters = app.get(Counters);
  app.disable('x-powered-by');
  app.set('query parser', 'extended');
  const { trustProxy } = settings;
  if (trustProxy)
    app.set('trust proxy', /^\d+$/.test(trustProxy) ? Number(trustProxy) : trustProxy);
  app.use(requestId);
  app.use(securityHeaders);
  app.use(app.get(OpenRequests).follow);
  app.use((request: Request, response: Response, next: NextFunction) => {
    const end = counters.requests.startTimer({ method: request.method });
    response.on('close', () => end({ status: response.statusCode }));
    next();
  });
  // A large upload over a slow connection takes hours; one without progress is aborted by `rejectSlowBodies`.
  app.getHttpServer().requestTimeout = 0;
  // Clients and proxies keep idle connections for up to 60 s (nginx) and must be the ones to close them: if the API closes
  // a connection while a request is being sent, the client gets ECONNRESET.
  app.getHttpServer().keepAliveTimeout = 75_000;
  app.use(rejectSlowBodies(settings.bodyStandsMs));
  app.use(compressResponse);
  if (settings.dashboardDir) app.use(dashboard(settings.dashboardDir));
  app.use('/v1', authenticateFirst(app.get(ApiKeysService)));
  app.use(jsonBody);
  const bodyError: ErrorRequestHandler = (error, request, response, _next) =>
    respondWithError(request, response, error);
  app.use(bodyError);
  if (!settings.docs) return;
  app.use('/docs', docsHeaders);
  SwaggerModule.setup('docs', app, () => openApiDocument(app, VERSION));
}
