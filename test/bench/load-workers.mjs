// The workers of load.mjs, in a separate process. They train nothing.
import { credentials, Metadata } from '@grpc/grpc-js';
import { SCHEMA_VERSION } from '@graft/contracts';
import { WorkerServiceClient } from '@graft/contracts/grpc';
import { randomUUID } from 'node:crypto';

const [address, joinToken] = process.argv.slice(2);
/** The number of unacknowledged batches that the API allows a worker. */
const UNACKNOWLEDGED = 8;
/** Number of streams that are opened concurrently, so that not all are opened within one millisecond. */
const JOINING = 25;

class Worker {
  leases = [];
  connected = false;
  lost = 0;
  /** The reason for which the stream ended. */
  ended = null;
  beats = [];
  waiting = new Map();
  sequence = 0;

  constructor(name, { slots, pool = 'default' }) {
    this.slots = slots;
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${joinToken}`);
    // A connection per worker, as for separate processes.
    this.client = new WorkerServiceClient(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    this.stream = this.client.connect(metadata);
    this.welcomed = new Promise((fulfil, reject) => {
      this.fulfil = fulfil;
      this.stream.on('error', (error) => {
        this.connected = false;
        this.ended = error.details;
        reject(error);
      });
    });
    this.stream.on('data', ({ body }) => this.received(body));
    this.send('hello', {
      schemaVersion: SCHEMA_VERSION,
      instanceId: randomUUID(),
      name,
      pool,
      slots,
      memoryBytes: 1e9,
      devices: ['cpu'],
      libtorch: 'none',
      trainerBuild: 'none',
      leases: [],
    });
  }

  send($case, value) {
    this.stream.write({ body: { $case, value } });
  }

  received(body) {
    switch (body?.$case) {
      case 'welcome': {
        this.connected = true;
        this.pull();
        const every = body.value.heartbeatMs;
        // Spread over one interval, as the heartbeats of workers that were started independently.
        this.starting = setTimeout(() => {
          this.beat();
          this.beating = setInterval(() => this.beat(), every);
        }, Math.random() * every);
        this.fulfil();
        break;
      }
      case 'assignment':
        this.leases.push({ ...body.value, events: 1, steps: 0 });
        this.send('events', this.batch([this.event(this.leases.at(-1), started)]));
        break;
      case 'heartbeatReply':
        this.beats.push(performance.now() - this.waiting.get(`beat ${body.value.sequence}`));
        this.lost += body.value.lost.length;
        break;
      case 'ack':
        this.lost += body.value.stale.length;
        this.waiting.get(`batch ${body.value.sequence}`)?.();
        break;
      case 'command':
        this.lost++;
        break;
    }
  }

  get capacity() {
    return {
      residentBases: [],
      freeSlots: this.slots - this.leases.length,
      freeMemoryBytes: 1e9,
    };
  }

  pull() {
    this.send('pull', this.capacity);
  }

  beat() {
    const sequence = ++this.sequence;
    this.waiting.set(`beat ${sequence}`, performance.now());
    const leases = this.leases.map(({ jobId, attempt }) => ({ jobId, attempt, step: 0 }));
    this.send('heartbeat', {
      ...this.capacity,
      sequence,
      leases,
      rssBytes: 0,
      sentUnixMs: Date.now(),
    });
    if (this.capacity.freeSlots > 0) this.pull();
  }

  event(lease, { kind, payload }) {
    return {
      jobId: lease.jobId,
      attempt: lease.attempt,
      sequence: lease.events++,
      atUnixMs: Date.now(),
      kind,
      payload: Buffer.from(JSON.stringify(payload)),
    };
  }

  batch(events) {
    return { sequence: ++this.sequence, events };
  }

  /** Sends steps of its jobs in turn until the time is over; returns after the last acknowledgement. */
  async report({ batch: size, ms }) {
    const end = performance.now() + ms;
    const acks = [];
    let steps = 0;
    const send = async (turn) => {
      for (let n = turn; performance.now() < end; n++) {
        const lease = this.leases[n % this.leases.length];
        const batch = this.batch(
          Array.from({ length: size }, () => this.event(lease, step(++lease.steps))),
        );
        const from = performance.now();
        await new Promise((acked) => {
          this.waiting.set(`batch ${batch.sequence}`, acked);
          this.send('events', batch);
        });
        acks.push(performance.now() - from);
        steps += size;
      }
    };
    await Promise.all(Array.from({ length: UNACKNOWLEDGED }, (_, turn) => send(turn)));
    return { steps, acks };
  }

  end() {
    clearTimeout(this.starting);
    clearInterval(this.beating);
    this.stream.cancel();
    this.client.close();
  }
}

const started = {
  kind: 'started',
  payload: {
    from_step: 0,
    total_steps: 1_000_000,
    trainable_parameters: 1,
    total_parameters: 1,
    training_examples: 1,
  },
};

/** The number of values of a step of supervised training. */
const step = (number) => ({
  kind: 'step',
  payload: {
    step: number,
    tokens: 100,
    seconds: 0.5,
    waited_seconds: 0,
    rss_bytes: 1e6,
    metrics: {
      loss: 4 / Math.sqrt(number),
      accuracy: 0.5 + 0.3 * Math.sin(number),
      supervised_tokens: 40,
      learning_rate: 1e-4 / number,
      grad_norm: 1 + 0.1 * Math.cos(number),
    },
  },
});

const workers = [];
const answers = {
  async join({ workers: count, ...about }) {
    for (let n = 0; n < count; n += JOINING) {
      const some = Array.from(
        { length: Math.min(JOINING, count - n) },
        (_, k) => new Worker(`bench-${n + k}`, about),
      );
      workers.push(...some);
      await Promise.all(some.map(({ welcomed }) => welcomed));
    }
  },
  /** Heartbeats, leases and errors of the workers; with `forget`, the heartbeats are reset. */
  async state({ forget = false }) {
    const beats = workers.flatMap((worker) => worker.beats);
    if (forget) for (const worker of workers) worker.beats = [];
    const sum = (read) => workers.reduce((total, worker) => total + read(worker), 0);
    return {
      beats,
      leases: sum(({ leases }) => leases.length),
      lost: sum(({ lost }) => lost),
      connected: sum(({ connected }) => Number(connected)),
      ended: workers.flatMap(({ ended }) => ended ?? []),
    };
  },
  async report(about) {
    const all = await Promise.all(workers.map((worker) => worker.report(about)));
    return {
      steps: all.reduce((sum, { steps }) => sum + steps, 0),
      acks: all.flatMap(({ acks }) => acks),
    };
  },
};

process.on('message', ({ what, about }) =>
  answers[what](about).then(
    (answer) => process.send({ answer }),
    (error) => process.send({ error: String(error) }),
  ),
);
process.on('disconnect', () => {
  for (const worker of workers) worker.end();
  process.exit();
});
