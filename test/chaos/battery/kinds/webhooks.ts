// Webhooks: two endpoints on a receiver that rejects requests or breaks the connection at random.
import { createHmac } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { WebhookReceiver, type Received } from '../../../../apps/api/test/webhook-receiver.js';
import type { Violation } from '../checker.js';
import type { Random } from '../random.js';
import { post, type Kind, type Place } from './kind.js';

const JOB_ENDS = ['succeeded', 'failed', 'cancelled'].map((state) => `fine_tuning.job.${state}`);
const SWEEP_ENDS = ['succeeded', 'failed', 'cancelled'].map((state) => `graft.sweep.${state}`);
const RUN_ENDS = ['succeeded', 'failed', 'canceled'].map((state) => `eval.run.${state}`);
const ENDPOINTS: Readonly<Record<string, readonly string[]>> = {
  everything: [...JOB_ENDS, ...SWEEP_ENDS, ...RUN_ENDS],
  runs: RUN_ENDS,
};

/** Tolerance of the timestamp in seconds, as Standard Webhooks recommends to receivers. */
const TOLERANCE_S = 5 * 60;

/** Event and its target. */
interface Fact {
  readonly type: string;
  readonly target: string;
}

interface Delivery extends Fact {
  readonly endpoint: string;
  /** Id in the header, by which receivers detect duplicates. */
  readonly id: string;
  readonly isSigned: boolean;
  /** Whether the receiver returned a success. */
  readonly isTaken: boolean;
}

export interface WebhookEvidence {
  /** Event types by endpoint. */
  readonly endpoints: Readonly<Record<string, readonly string[]>>;
  readonly deliveries: readonly Delivery[];
  /** Ends that the rows record. */
  readonly facts: readonly Fact[];
}

/**
 * Each end is delivered at least once to every subscribed endpoint, under one id and signed. No event is
 * false.
 */
export function* checkWebhooks({
  endpoints,
  deliveries,
  facts,
}: WebhookEvidence): Generator<[subject: string, what: string]> {
  const keyOf = ({ type, target }: Fact): string => `${type} ${target}`;
  const happened = new Set(facts.map(keyOf));
  const ids = new Map<string, string>();
  const taken = new Set<string>();
  for (const delivery of deliveries) {
    const { endpoint, id, type, target, isSigned, isTaken } = delivery;
    const key = keyOf(delivery);
    if (!isSigned) yield [target, `${type} arrived at ${endpoint} without a valid signature`];
    if (!happened.has(key)) yield [target, `${type} was sent but did not happen`];
    if (!endpoints[endpoint]?.includes(type))
      yield [target, `${type} arrived at ${endpoint}, which is not subscribed to it`];
    if ((ids.get(key) ?? id) !== id)
      yield [target, `${type} has the ids ${ids.get(key)} and ${id}`];
    ids.set(key, id);
    if (isTaken) taken.add(`${endpoint} ${key}`);
  }
  for (const [endpoint, types] of Object.entries(endpoints))
    for (const fact of facts)
      if (types.includes(fact.type) && !taken.has(`${endpoint} ${keyOf(fact)}`))
        yield [fact.target, `${endpoint} did not receive ${fact.type}`];
}

/** Ends of the rows, with the event type of each. */
const FACTS = `
  SELECT 'fine_tuning.job.' || state AS type, id AS target FROM job
    WHERE state IN ('succeeded', 'failed', 'cancelled')
      AND finished_at > (SELECT max(created_at) FROM webhook_endpoint)
  UNION ALL SELECT 'eval.run.' || CASE status WHEN 'completed' THEN 'succeeded' ELSE status END, id FROM eval_run
    WHERE status IN ('completed', 'failed', 'canceled')
  UNION ALL SELECT 'graft.sweep.' || CASE
      WHEN cancelled_at IS NOT NULL THEN 'cancelled'
      WHEN EXISTS (SELECT 1 FROM job WHERE sweep_id = sweep.id AND state = 'succeeded') THEN 'succeeded'
      WHEN EXISTS (SELECT 1 FROM job WHERE sweep_id = sweep.id AND state = 'failed') THEN 'failed'
      ELSE 'cancelled' END, id FROM sweep
    WHERE NOT EXISTS (SELECT 1 FROM job WHERE sweep_id = sweep.id AND state IN ('queued', 'running', 'paused'))`;

export class Webhooks implements Kind {
  readonly name = 'webhooks';
  private receiver!: WebhookReceiver;
  private readonly secrets = new Map<string, string>();
  private readonly deliveries: Delivery[] = [];
  private isWell = false;

  async configure(): Promise<object> {
    this.receiver = await WebhookReceiver.open();
    return { outboundNetworks: ['127.0.0.0/8'] };
  }

  async listen(place: Place): Promise<void> {
    this.receiver.answer = (response, one) => this.take(place.random, response, one);
    for (const [name, event_types] of Object.entries(ENDPOINTS)) {
      const url = `${this.receiver.url}?${name}`;
      const body = { name, url, event_types };
      const { secret } = await post<{ secret: string }>(place, '/webhook_endpoints', body);
      this.secrets.set(name, secret);
    }
  }

  heal(): void {
    this.isWell = true;
  }

  /** Skips the pauses between retries. */
  async open({ cluster }: Place): Promise<string[]> {
    const rows = await cluster.query<{ type: string; target: string }>(
      `UPDATE webhook_delivery SET next_at = LEAST(next_at, clock_timestamp()) WHERE status <> 'delivered'
       RETURNING type, target`,
    );
    return rows.map(({ type, target }) => `${type} of ${target}`);
  }

  async look({ cluster }: Place): Promise<Violation[]> {
    const facts = await cluster.query<Fact>(FACTS);
    const found = checkWebhooks({ endpoints: ENDPOINTS, deliveries: this.deliveries, facts });
    return [...found].map(([subject, what]) => ({ invariant: 'I14', subject, what }));
  }

  counts(): Record<string, number> {
    return {
      'webhook requests': this.deliveries.length,
      'webhook requests taken': this.deliveries.filter(({ isTaken }) => isTaken).length,
    };
  }

  close(): Promise<void> {
    return this.receiver.close();
  }

  private take(random: Random, response: ServerResponse, one: Received): void {
    const draw = this.isWell ? 1 : random.next();
    const isTaken = draw >= 0.3;
    const [, endpoint = ''] = one.path.split('?');
    const { type, data } = one.event;
    const id = String(one.headers['webhook-id']);
    const isSigned = id === one.event.id && this.isSigned(endpoint, one);
    this.deliveries.push({ endpoint, id, type, target: data.id, isSigned, isTaken });
    if (isTaken) response.writeHead(204).end();
    else if (draw < 0.2) response.writeHead(500).end();
    else response.destroy();
  }

  private isSigned(endpoint: string, { headers, body }: Received): boolean {
    const at = String(headers['webhook-timestamp']);
    const key = Buffer.from(this.secrets.get(endpoint)?.replace('whsec_', '') ?? '', 'base64');
    const text = `${String(headers['webhook-id'])}.${at}.${body}`;
    const expected = `v1,${createHmac('sha256', key).update(text).digest('base64')}`;
    const isRecent = Math.abs(Date.now() / 1000 - Number(at)) < TOLERANCE_S;
    return isRecent && String(headers['webhook-signature']).split(' ').includes(expected);
  }
}
