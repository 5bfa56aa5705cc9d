import type {
  WebhookDeliveryObject,
  WebhookEndpointObject,
  WebhookEventType,
} from '@graft/contracts';
import { WEBHOOK_EVENT_TYPES } from '@graft/contracts/webhooks';
import { Option, type Command } from 'commander';
import type { Api } from '../client/api.js';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { ago, printable, table, type Output } from '../output/terminal.js';

interface Changes {
  readonly name?: string;
  readonly to?: string;
  readonly event?: readonly WebhookEventType[];
}

/** A try has 15 s on the server, and one more event may be before it. */
const TEST_SECONDS = 40;

export function addWebhooks(program: Command): void {
  const webhooks = program
    .command('webhooks')
    .description('manage where the ends of jobs and evals are told, in OpenAI’s events');
  addReading(webhooks);
  webhooks
    .command('create')
    .description('add an endpoint; its secret is printed once')
    .argument('<name>')
    .argument('<url>', 'https://…, or http:// in a network that the operator allows')
    .addOption(events('what it is told of (default: everything)'))
    .action(async (name: string, url: string, { event }: Changes, command: Command) => {
      const { out, api } = callOf(command);
      const body = { name, url, ...(event && { event_types: event }) };
      showSecret(out, await api().post<WebhookEndpointObject>('/webhook_endpoints', body));
    });
  webhooks
    .command('update')
    .description('change an endpoint')
    .argument('<endpoint>')
    .option('--name <name>')
    .option('--to <url>', 'send to this address')
    .addOption(events('what it is told of, in place of what it was'))
    .action(async (id: string, { name, to, event }: Changes, command: Command) => {
      const { out, api } = callOf(command);
      const body = { name, url: to, ...(event && { event_types: event }) };
      show(out, await api().post<WebhookEndpointObject>(at(id), body));
    });
  for (const [verb, enabled, description] of [
    ['enable', true, 'switch an endpoint on; what is still pending is sent'],
    ['disable', false, 'switch an endpoint off; nothing is kept for it meanwhile'],
  ] as const)
    webhooks
      .command(verb)
      .description(description)
      .argument('<endpoint>')
      .action(async (id: string, _options: unknown, command: Command) => {
        const { out, api } = callOf(command);
        show(out, await api().post<WebhookEndpointObject>(at(id), { enabled }));
      });
  webhooks
    .command('delete')
    .description('delete an endpoint and the record of its deliveries')
    .argument('<endpoint>')
    .action(async (id: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      await api().delete<unknown>(at(id));
      out.line(`${id} deleted`);
    });
  webhooks
    .command('rotate-secret')
    .description('make another secret, printed once; for 24 hours deliveries are signed with both')
    .argument('<endpoint>')
    .action(async (id: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      showSecret(out, await api().post<WebhookEndpointObject>(`${at(id)}/rotate_secret`));
    });
  addSending(webhooks);
}

function addReading(webhooks: Command): void {
  webhooks
    .command('list', { isDefault: true })
    .description('list endpoints')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const all = await api().all<WebhookEndpointObject>('/webhook_endpoints');
      if (out.json) return out.value(all);
      if (all.length === 0)
        return out.line('no endpoints yet: graft webhooks create NAME https://…');
      out.line(
        table(['ENDPOINT', 'NAME', 'URL', 'STATE', 'LAST DELIVERED'], all.map(row), out.width),
      );
    });
  webhooks
    .command('deliveries')
    .description('list what was sent to an endpoint, and what came of it')
    .argument('<endpoint>')
    .action(async (id: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const path = `${at(id)}/deliveries?limit=50`;
      const { data } = await api().get<{ data: readonly WebhookDeliveryObject[] }>(path);
      if (out.json) return out.value(data);
      if (data.length === 0) return out.line('nothing was sent in the last 30 days');
      const header = ['DELIVERY', 'EVENT', 'OF', 'STATUS', 'TRIES', 'LAST ANSWER', 'AGE'];
      out.line(table(header, data.map(deliveryRow), out.width));
    });
}

function addSending(webhooks: Command): void {
  webhooks
    .command('test')
    .description('send an event to an endpoint, and say what came of it')
    .argument('<endpoint>')
    .action(async (id: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const sent = await api().post<WebhookDeliveryObject>(`${at(id)}/test`);
      await report(out, api(), id, sent);
    });
  webhooks
    .command('retry')
    .description('send a delivery again now, and say what came of it')
    .argument('<endpoint>')
    .argument('<delivery>')
    .action(async (id: string, delivery: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const path = `${at(id)}/deliveries/${encodeURIComponent(delivery)}/retry`;
      await report(out, api(), id, await api().post<WebhookDeliveryObject>(path));
    });
}

/** Waits for one more try. */
async function report(
  out: Output,
  api: Api,
  endpoint: string,
  sent: WebhookDeliveryObject,
): Promise<void> {
  const path = `${at(endpoint)}/deliveries/${sent.id}`;
  const end = Date.now() + TEST_SECONDS * 1000;
  let now = sent;
  while (now.tries.length === sent.tries.length) {
    if (Date.now() > end)
      throw new CliError(
        `not sent within ${TEST_SECONDS} s; see graft webhooks deliveries ${endpoint}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 200));
    now = await api.get<WebhookDeliveryObject>(path);
  }
  if (out.json) out.value(now);
  const tried = now.tries.at(-1);
  if (now.status !== 'delivered') throw new CliError(`${now.id} failed: ${tried?.error ?? ''}`);
  if (!out.json)
    out.line(`${now.id} delivered: answered ${tried?.status_code} after ${tried?.duration_ms} ms`);
}

const at = (id: string): string => `/webhook_endpoints/${encodeURIComponent(id)}`;

const events = (description: string): Option =>
  new Option('--event <event...>', description).choices(WEBHOOK_EVENT_TYPES);

function showSecret(out: Output, made: WebhookEndpointObject): void {
  if (out.json) return out.value(made);
  out.note(`${made.id} ${made.name}: save this secret now; it will not be shown again`);
  out.line(made.secret ?? '');
}

function show(out: Output, endpoint: WebhookEndpointObject): void {
  if (out.json) return out.value(endpoint);
  out.line(`${endpoint.id} ${printable(endpoint.name)} ${stateOf(endpoint)}`);
}

const stateOf = ({ enabled, failing_since: failing }: WebhookEndpointObject): string =>
  !enabled ? 'off' : failing === null ? 'on' : `failing for ${ago(failing).replace(/ ago$/, '')}`;

const row = (endpoint: WebhookEndpointObject): string[] => [
  endpoint.id,
  printable(endpoint.name),
  printable(endpoint.url),
  stateOf(endpoint),
  endpoint.last_delivered_at === null ? 'never' : ago(endpoint.last_delivered_at),
];

function deliveryRow({ id, event, status, tries }: WebhookDeliveryObject): string[] {
  const last = tries.at(-1);
  const answer = last ? (last.error ?? `answered ${last.status_code}`) : '';
  return [
    id,
    event.type,
    event.data.id,
    status,
    String(tries.length),
    printable(answer),
    ago(event.created_at),
  ];
}
