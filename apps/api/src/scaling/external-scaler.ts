import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Server, status, type ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { DomainError, POOL_NAME, POOL_NAME_RULE } from '@graft/contracts';
import {
  ExternalScalerService,
  type ExternalScalerServer,
  type IsActiveResponse,
  type ScaledObjectRef,
} from '@graft/contracts/grpc';
import { inUrl, Settings } from '../config.js';
import { WakeUps } from '../wake/wake-ups.js';
import { grpcError } from '../worker-service/status.js';
import { PoolLoad } from '../dispatch/pool-load.js';

const METRIC = 'graft-wanted-slots';
/** Polling interval. A wake-up may be lost, and the end of a job's pause before a retry is not announced. */
const LOOK_MS = 5_000;

/**
 * External scaler for KEDA. For the pool in a trigger's metadata, it returns how many slots the pool could
 * use, and how many slots a worker has (`slotsPerWorker`, or what its workers report). It only exposes
 * counts, and requires no key because KEDA sends none.
 */
@Injectable()
export class ExternalScaler implements OnModuleDestroy {
  private server: Server | null = null;
  private readonly endings = new Set<() => void>();

  constructor(
    private readonly settings: Settings,
    private readonly load: PoolLoad,
    private readonly wakeUps: WakeUps,
  ) {}

  /** Starts listening, and returns `host:port`; null if no port is configured. */
  async listen(credentials: ServerCredentials): Promise<string | null> {
    const { scalerHost, scalerPort } = this.settings;
    if (scalerPort === null) return null;
    const server = new Server();
    this.server = server;
    server.addService(ExternalScalerService, this.service());
    const host = inUrl(scalerHost);
    return new Promise((resolve, reject) =>
      server.bindAsync(`${host}:${scalerPort}`, credentials, (error, bound) =>
        error
          ? reject(
              new Error(
                `the scaler for KEDA cannot listen on ${host}:${scalerPort} (${error.message}): ` +
                  'if another program uses that port, choose another with --scaler-port',
              ),
            )
          : resolve(`${host}:${bound}`),
      ),
    );
  }

  private service(): ExternalScalerServer {
    return {
      isActive: ({ request }, callback) =>
        answer(callback, async () => ({ result: await this.load.isWanted(poolOf(request)) })),
      streamIsActive: (call) => this.stream(call),
      getMetricSpec: ({ request }, callback) =>
        answer(callback, async () => {
          const targetSize = await this.slotsPerWorker(request);
          return { metricSpecs: [{ metricName: METRIC, targetSize, targetSizeFloat: targetSize }] };
        }),
      getMetrics: ({ request }, callback) =>
        answer(callback, async () => {
          const metricValue = await this.load.wanted(poolOf(request.scaledObjectRef));
          return {
            metricValues: [{ metricName: METRIC, metricValue, metricValueFloat: metricValue }],
          };
        }),
      // The target of a pool does not change, so KEDA can use getMetricSpec.
      streamMetricSpec: (call) => void call.emit('error', { code: status.UNIMPLEMENTED }),
    };
  }

  private async slotsPerWorker(of: ScaledObjectRef): Promise<number> {
    const text = of.scalerMetadata['slotsPerWorker'];
    if (text === undefined) return (await this.load.slotsPerWorker(poolOf(of))) ?? 1;
    const slots = Number(text);
    if (Number.isInteger(slots) && slots >= 1) return slots;
    throw new DomainError(
      'invalid_value',
      `slotsPerWorker: expected an integer ≥ 1, got ${text}`,
      'slotsPerWorker',
    );
  }

  /** Sends whether the pool is active, immediately and whenever that changes. */
  private stream(call: ServerWritableStream<ScaledObjectRef, IsActiveResponse>): void {
    let pool: string;
    try {
      pool = poolOf(call.request);
    } catch (error) {
      call.emit('error', grpcError(error));
      return;
    }
    let sent: boolean | null = null;
    let looking = false;
    let again = false;
    const look = async (): Promise<void> => {
      again = true;
      if (looking) return;
      looking = true;
      try {
        while (again && this.endings.has(end)) {
          again = false;
          const result = await this.load.isWanted(pool);
          if (result !== sent && this.endings.has(end)) call.write({ result });
          sent = result;
        }
      } catch (error) {
        call.emit('error', grpcError(error));
        end();
      } finally {
        looking = false;
      }
    };
    const end = (): void => {
      if (!this.endings.delete(end)) return;
      clearInterval(timer);
      unwatch();
      call.end();
    };
    const timer = setInterval(() => void look(), LOOK_MS);
    const unwatch = this.wakeUps.watch(`pool:${pool}`, () => void look());
    this.endings.add(end);
    call.on('cancelled', end);
    call.on('close', end);
    void look();
  }

  onModuleDestroy(): void {
    for (const end of [...this.endings]) end();
    this.server?.forceShutdown();
  }
}

function poolOf(of: ScaledObjectRef | undefined): string {
  const pool = of?.scalerMetadata['pool'] ?? '';
  if (!POOL_NAME.test(pool))
    throw new DomainError('invalid_value', `pool: ${POOL_NAME_RULE}`, 'pool');
  return pool;
}

function answer<Value>(
  callback: (error: ReturnType<typeof grpcError> | null, value?: Value) => void,
  work: () => Promise<Value>,
): void {
  // `work` runs in the chain, so that errors that it throws synchronously are sent too.
  Promise.resolve()
    .then(work)
    .then(
      (value) => callback(null, value),
      (error: unknown) => callback(grpcError(error)),
    );
}
