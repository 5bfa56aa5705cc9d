// A worker thread that answers one blocking request at a time. Libraries return promises, but training is synchronous.
// A call waits for its response on a shared flag (measured: about 0.1 ms per call).
import { createRequire } from 'node:module';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

interface Answer {
  readonly value?: unknown;
  readonly error?: string;
}

export interface ThreadOptions {
  /** Name of the thread, used in timeout messages. */
  readonly name: string;
  /** Package that does the work. */
  readonly package: string;
  /**
   * JavaScript source of a function of `require` and the package's path that returns the request handler. It is source
   * text so that it runs the same from TypeScript under test and from the build. It must not refer to anything outside
   * itself.
   */
  readonly source: string;
}

const TIMEOUT_MS = 600_000;

export class BlockingThread<Request> {
  #open: { readonly port: MessagePort; readonly flag: Int32Array } | undefined;

  constructor(private readonly options: ThreadOptions) {}

  /** Sends a request and blocks until the response arrives. @throws Error with the package's own message */
  ask(request: Request): unknown {
    const { port, flag } = (this.#open ??= this.start());
    Atomics.store(flag, 0, 0);
    port.postMessage(request);
    // The previous response's notify may arrive only now, after its flag was cleared, so a wake-up is not yet a
    // response.
    while (Atomics.load(flag, 0) === 0) {
      if (Atomics.wait(flag, 0, 0, TIMEOUT_MS) === 'timed-out')
        throw new Error(`${this.options.name} did not respond within ${TIMEOUT_MS / 1000} s`);
    }
    const { value, error } = receiveMessageOnPort(port)?.message as Answer;
    if (error !== undefined) throw new Error(error);
    return value;
  }

  private start(): { port: MessagePort; flag: Int32Array } {
    const { port1, port2 } = new MessageChannel();
    const flag = new Int32Array(new SharedArrayBuffer(4));
    const path = createRequire(import.meta.url).resolve(this.options.package);
    const worker = new Worker(`(${serve.toString()})(require, ${this.options.source})`, {
      eval: true,
      execArgv: [],
      workerData: { port: port2, flag, path },
      transferList: [port2],
    });
    worker.unref();
    port1.unref();
    return { port: port1, flag };
  }
}

/** Serves requests in the worker. It must not refer to anything outside itself. */
function serve(
  load: NodeJS.Require,
  answering: (load: NodeJS.Require, path: string) => (request: unknown) => Promise<unknown>,
): void {
  const { workerData } = load('node:worker_threads') as typeof import('node:worker_threads');
  const { port, flag, path } = workerData as { port: MessagePort; flag: Int32Array; path: string };
  let answer: (request: unknown) => Promise<unknown>;
  try {
    answer = answering(load, path);
  } catch (error) {
    answer = () => Promise.reject(error as Error);
  }
  const reply = (message: Answer): void => {
    port.postMessage(message);
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  };
  port.on('message', (request: unknown) => {
    answer(request).then(
      (value) => reply({ value }),
      (error: unknown) => reply({ error: error instanceof Error ? error.message : String(error) }),
    );
  });
}
