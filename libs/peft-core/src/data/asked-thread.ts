// A worker thread that is asked one thing at a time and waited for: libraries answer with promises, and training is
// synchronous. A call waits for its answer on a shared flag (measured: about 0.1 ms a call).
import { createRequire } from 'node:module';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

interface Answer {
  readonly value?: unknown;
  readonly error?: string;
}

export interface ThreadOptions {
  /** In words, for who waits in vain. */
  readonly name: string;
  /** The package that its work is done by. */
  readonly package: string;
  /**
   * JavaScript of a function of `require` and the package's path, which returns what answers a request. From source
   * text, so that it runs the same from TypeScript under test and from the build: it must not refer to anything else.
   */
  readonly source: string;
}

const TIMEOUT_MS = 600_000;

export class AskedThread<Request> {
  #open: { readonly port: MessagePort; readonly flag: Int32Array } | undefined;

  constructor(private readonly options: ThreadOptions) {}

  /** Has it do something, and waits. @throws Error with the package's own message */
  ask(request: Request): unknown {
    const { port, flag } = (this.#open ??= this.start());
    Atomics.store(flag, 0, 0);
    port.postMessage(request);
    // The last answer's notify may come only now, after its flag was seen and cleared: woken is not answered.
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

/** Runs in the worker. It must not refer to anything outside itself. */
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
