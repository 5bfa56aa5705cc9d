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
import { findWebhookId } from '../find/find-webhook.js';
import { ago, printable, table, type Output } from '../output/terminal.js';
import { GRAFT } from '../called.js';

interface Changes {
  readonly name?: string;
  readonly to?: string;
  readonly event?: readonly WebhookEventType[];
}

const ENDPOINT_HELP = 'id, prefix of the id, or name';

/** An attempt may last 15 s on the server, and another event may be ahead of it. */
const TEST_SECONDS = 40;

export function addWebhooks(program: Command): void {
  const webhooks = program.command('webhooks').description('Manage webhooks');
  addReading(webhooks);
  webhooks
    .command('create')
    .description('Create an endpoint and print its secret once')
    .argument('<name>')
    .argument('<url>', 'https:// address, or http:// in networks that the operator allows')
    .addOption(events('event types to send (default: all)'))
    .action(async (name: string, url: string, { event }: Changes, command: Command) => {
      const { out, api } = callOf(command);
      const body = { name, url, ...(event && { event_types: event }) };
      showSecret(out, await api().post<WebhookEndpointObject>('/webhook_endpoints', body));
    });
  webhooks
    .command('update')
    .description('Change an endpoint')
    .argument('<endpoint>', ENDPOINT_HELP)
    .option('--name <name>')
    .option('--to <url>', 'send to this address')
    .addOption(events('event types to send, replacing the previous ones'))
    .action(async (called: string, { name, to, event }: Changes, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findWebhookId(api(), called);
      const body = { name, url: to, ...(event && { event_types: event }) };
      show(out, await api().post<WebhookEndpointObject>(at(id), body));
    });
  for (const [verb, enabled, description] of [
    ['enable', true, 'Enable an endpoint; pending events are sent'],
    ['disable', false, 'Disable an endpoint; new events are not stored for it'],
  ] as const)
    webhooks
      .command(verb)
      .description(description)
      .argument('<endpoint>', ENDPOINT_HELP)
      .action(async (name: string, _options: unknown, command: Command) => {
        const { out, api } = callOf(command);
        const id = await findWebhookId(api(), name);
        show(out, await api().post<WebhookEndpointObject>(at(id), { enabled }));
      });
  webhooks
    .command('delete')
    .description('Delete an endpoint and its delivery history')
    .argument('<endpoint>', ENDPOINT_HELP)
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findWebhookId(api(), name);
      await api().delete<unknown>(at(id));
      out.line(`${id} deleted`);
    });
  webhooks
    .command('rotate-secret')
    .description('Create a new secret; the old one works for another 24 hours')
    .argument('<endpoint>', ENDPOINT_HELP)
    .option('--revoke-old', 'the old secret stops working now')
    .action(async (name: string, { revokeOld }: { revokeOld?: true }, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findWebhookId(api(), name);
      const body = { keep_old_secret_active_for_24_hours: !revokeOld };
      showSecret(out, await api().post<WebhookEndpointObject>(`${at(id)}/rotate_secret`, body));
    });
  addSending(webhooks);
}

function addReading(webhooks: Command): void {
  webhooks
    .command('list', { isDefault: true })
    .description('List endpoints')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const all = await api().all<WebhookEndpointObject>('/webhook_endpoints');
      if (out.json) return out.value(all);
      if (all.length === 0)
        return out.line(`no endpoints yet: ${GRAFT} webhooks create NAME https://…`);
      out.line(
        table(
          ['ENDPOINT', 'NAME', 'URL', 'STATE', 'LAST DELIVERED'],
          all.map((one) => row(one, out.id(one.id))),
          { width: out.width },
        ),
      );
    });
  webhooks
    .command('deliveries')
    .description('List deliveries to an endpoint and their results')
    .argument('<endpoint>', ENDPOINT_HELP)
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findWebhookId(api(), name);
      const path = `${at(id)}/deliveries?limit=50`;
      const { data } = await api().get<{ data: readonly WebhookDeliveryObject[] }>(path);
      if (out.json) return out.value(data);
      if (data.length === 0) return out.line('no deliveries in the last 30 days');
      const header = ['DELIVERY', 'EVENT', 'OBJECT', 'STATUS', 'ATTEMPTS', 'LAST RESPONSE', 'AGE'];
      out.line(table(header, data.map(deliveryRow), { width: out.width }));
    });
}

function addSending(webhooks: Command): void {
  webhooks
    .command('test')
    .description('Send a test event to an endpoint')
    .argument('<endpoint>', ENDPOINT_HELP)
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findWebhookId(api(), name);
      const sent = await api().post<WebhookDeliveryObject>(`${at(id)}/test`);
      await report(out, api(), id, sent);
    });
  webhooks
    .command('retry')
    .description('Retry a delivery immediately')
    .argument('<endpoint>', ENDPOINT_HELP)
    .argument('<delivery>')
    .action(async (name: string, delivery: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findWebhookId(api(), name);
      const path = `${at(id)}/deliveries/${encodeURIComponent(delivery)}/retry`;
      await report(out, api(), id, await api().post<WebhookDeliveryObject>(path));
    });
}

/** Waits for the next attempt and prints its result. */
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
        `not sent within ${TEST_SECONDS} s; see ${GRAFT} webhooks deliveries ${endpoint}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 200));
    now = await api.get<WebhookDeliveryObject>(path);
  }
  if (out.json) out.value(now);
  const tried = now.tries.at(-1);
  if (now.status !== 'delivered') throw new CliError(`${now.id} failed: ${tried?.error ?? ''}`);
  if (!out.json)
    out.line(`${now.id} delivered: HTTP ${tried?.status_code} after ${tried?.duration_ms} ms`);
}

const at = (id: string): string => `/webhook_endpoints/${encodeURIComponent(id)}`;

const events = (description: string): Option =>
  new Option('--event <event...>', description).choices(WEBHOOK_EVENT_TYPES);

function showSecret(out: Output, made: WebhookEndpointObject): void {
  if (out.json) return out.value(made);
  out.note(`${made.id} ${made.name}: save this secret now; it is not shown again`);
  out.line(made.signing_secret ?? '');
}

function show(out: Output, endpoint: WebhookEndpointObject): void {
  if (out.json) return out.value(endpoint);
  out.line(`${endpoint.id} ${printable(endpoint.name)} ${stateOf(endpoint)}`);
}

const stateOf = ({ enabled, failing_since: failing }: WebhookEndpointObject): string =>
  !enabled ? 'off' : failing === null ? 'on' : `failing for ${ago(failing).replace(/ ago$/, '')}`;

const row = (endpoint: WebhookEndpointObject, id: string): string[] => [
  id,
  printable(endpoint.name),
  printable(endpoint.url),
  stateOf(endpoint),
  endpoint.last_delivered_at === null ? 'never' : ago(endpoint.last_delivered_at),
];

function deliveryRow({ id, event, status, tries }: WebhookDeliveryObject): string[] {
  const last = tries.at(-1);
  const answer = last ? (last.error ?? `HTTP ${last.status_code}`) : '';
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
