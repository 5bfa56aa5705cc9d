import type { WebhookDeliveryObject, WebhookEndpointObject } from '@graft/contracts';
import { WEBHOOK_EVENT_TYPES, type WebhookEventType } from '@graft/contracts/webhooks';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Failure } from '../ui/failure.js';
import { Loading } from '../ui/loading.js';
import { Secret } from '../ui/secret.js';
import { Row, Table } from '../ui/table.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';

const REFRESH_MS = 3_000;

/** Webhook endpoints and their deliveries, for owners and admins. */
export function WebhooksPage() {
  const endpoints = useLoaded(['webhooks'], api.webhooks, REFRESH_MS);
  const [made, setMade] = useState<WebhookEndpointObject | null>(null);
  const [chosen, setChosen] = useState<string | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const open = endpoints.value?.find(({ id }) => id === chosen) ?? null;
  const act = (work: Promise<unknown>) => {
    setError(null);
    work.then(endpoints.reload, setError);
  };
  const showSecret = (endpoint: WebhookEndpointObject) => {
    setMade(endpoint);
    endpoints.reload();
  };
  return (
    <main>
      <h1>Webhooks</h1>
      <p>
        When a job or an eval ends, Graft sends OpenAI’s event to these addresses, signed so that{' '}
        <code>client.webhooks.unwrap()</code> in the OpenAI SDKs can verify it.
      </p>
      <EndpointForm made={showSecret} />
      <Failure error={error ?? endpoints.error} />
      {made?.secret && <Secret of={`Secret of ${made.name}`} secret={made.secret} />}
      {endpoints.value === null ? (
        <Loading error={endpoints.error} />
      ) : endpoints.value.length === 0 ? (
        <p className="faint">No endpoints yet. Add one above.</p>
      ) : (
        <Table columns={['Name', 'Address', 'Events', 'State', 'Last delivered', '']}>
          {endpoints.value.map((endpoint) => (
            <EndpointRow
              key={endpoint.id}
              endpoint={endpoint}
              isOpen={endpoint.id === chosen}
              open={() => setChosen(endpoint.id === chosen ? null : endpoint.id)}
              act={act}
              showSecret={showSecret}
              failed={setError}
            />
          ))}
        </Table>
      )}
      {open && <Deliveries key={open.id} of={open} />}
    </main>
  );
}

interface EndpointRowProps {
  readonly endpoint: WebhookEndpointObject;
  readonly isOpen: boolean;
  readonly open: () => void;
  readonly act: (work: Promise<unknown>) => void;
  readonly showSecret: (endpoint: WebhookEndpointObject) => void;
  readonly failed: (error: Error) => void;
}

function EndpointRow({ endpoint, isOpen, open, act, showSecret, failed }: EndpointRowProps) {
  const { id, name, enabled } = endpoint;
  const confirm = useConfirm();
  const rotate = () => {
    const message = `Create a new secret for ${name}? For 24 hours, deliveries are signed with both secrets. Then the old one stops working.`;
    confirm(message, 'Create new secret', () =>
      api.rotateWebhookSecret(id).then(showSecret, failed),
    );
  };
  const remove = () => {
    const message = `Delete ${name}? Pending deliveries are not sent, and its delivery history is deleted.`;
    confirm(message, 'Delete', () => act(api.deleteWebhook(id)));
  };
  const count = endpoint.event_types.length;
  return (
    <Row>
      <td className="break">{name}</td>
      <td className="break">{endpoint.url}</td>
      <td title={endpoint.event_types.join('\n')}>
        {count === WEBHOOK_EVENT_TYPES.length ? 'everything' : endpoint.event_types.join(', ')}
      </td>
      <td>
        <State of={endpoint} />
      </td>
      <td className="numbers">
        {endpoint.last_delivered_at === null ? 'never' : ago(endpoint.last_delivered_at)}
      </td>
      <td className="actions many">
        <button aria-expanded={isOpen} aria-label={`Deliveries to ${name}`} onClick={open}>
          Deliveries
        </button>
        <button
          aria-label={`Test ${name}`}
          disabled={!enabled}
          onClick={() => {
            if (!isOpen) open();
            act(api.testWebhook(id));
          }}
        >
          Test
        </button>
        <button
          aria-label={`${enabled ? 'Disable' : 'Enable'} ${name}`}
          onClick={() => act(api.changeWebhook(id, { enabled: !enabled }))}
        >
          {enabled ? 'Disable' : 'Enable'}
        </button>
        <button aria-label={`New secret for ${name}`} onClick={rotate}>
          New secret
        </button>
        <button aria-label={`Delete ${name}`} onClick={remove}>
          Delete
        </button>
      </td>
    </Row>
  );
}

/** Shape and word in addition to color, for users who cannot distinguish colors. */
function State({ of: { enabled, disabled_reason, failing_since } }: { of: WebhookEndpointObject }) {
  if (!enabled)
    return (
      <>
        <span className="pill off">
          <span aria-hidden="true">–</span> off
        </span>{' '}
        {disabled_reason && <span className="faint">{disabled_reason}</span>}
      </>
    );
  if (failing_since === null)
    return (
      <span className="pill good">
        <span aria-hidden="true">✓</span> on
      </span>
    );
  return (
    <span className="pill bad" title={`since ${moment(failing_since)}`}>
      <span aria-hidden="true">✕</span> failing
    </span>
  );
}

function EndpointForm({ made }: { made: (endpoint: WebhookEndpointObject) => void }) {
  const [name, setName] = useState('');
  const [url, setUrl] = useState('');
  const [types, setTypes] = useState<readonly WebhookEventType[]>(WEBHOOK_EVENT_TYPES);
  const [error, setError] = useState<Error | null>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    api
      .createWebhook({ name: name.trim(), url: url.trim(), event_types: types })
      .then((endpoint) => {
        setName('');
        setUrl('');
        made(endpoint);
      }, setError);
  };
  return (
    <>
      <form className="bar" onSubmit={submit}>
        <label className="field">
          Name
          <input
            required
            aria-label="Name of the new endpoint"
            placeholder="e.g. Slack relay"
            value={name}
            onChange={(e) => setName(e.target.value)}
          />
        </label>
        <label className="field">
          Address
          <input
            required
            type="url"
            aria-label="Address of the new endpoint"
            placeholder="https://example.com/hook"
            value={url}
            onChange={(e) => setUrl(e.target.value)}
          />
        </label>
        <button className="main bottom" disabled={types.length === 0}>
          Add endpoint
        </button>
      </form>
      <fieldset className="bar">
        <legend>Events</legend>
        {WEBHOOK_EVENT_TYPES.map((type) => (
          <label key={type}>
            <input
              type="checkbox"
              checked={types.includes(type)}
              onChange={({ target }) =>
                setTypes(
                  WEBHOOK_EVENT_TYPES.filter((one) =>
                    one === type ? target.checked : types.includes(one),
                  ),
                )
              }
            />{' '}
            {type}
          </label>
        ))}
      </fieldset>
      <Failure error={error} />
    </>
  );
}

function Deliveries({ of: { id, name, enabled } }: { of: WebhookEndpointObject }) {
  const deliveries = useLoaded(
    ['deliveries', id],
    async () => (await api.webhookDeliveries(id)).data,
    REFRESH_MS,
  );
  const [error, setError] = useState<Error | null>(null);
  const retry = (delivery: WebhookDeliveryObject) => {
    setError(null);
    api.retryWebhook(id, delivery.id).then(deliveries.reload, setError);
  };
  return (
    <section>
      <h2>Deliveries to {name}</h2>
      <Failure error={error ?? deliveries.error} />
      {deliveries.value === null ? (
        <Loading error={deliveries.error} />
      ) : deliveries.value.length === 0 ? (
        <p className="faint">No deliveries in the last 30 days.</p>
      ) : (
        <Table columns={['Event', 'Object', 'Sent', 'Result', 'Attempts', '']}>
          {deliveries.value.map((delivery) => (
            <Row key={delivery.id}>
              <td>{delivery.event.type}</td>
              <td className="break">
                <code>{delivery.event.data.id}</code>
              </td>
              <td className="numbers" title={moment(delivery.event.created_at)}>
                {ago(delivery.event.created_at)}
              </td>
              <td>{outcome(delivery)}</td>
              <td className="numbers">{delivery.tries.length}</td>
              <td className="actions">
                <button
                  aria-label={`Send ${delivery.id} again`}
                  disabled={!enabled}
                  onClick={() => retry(delivery)}
                >
                  Send again
                </button>
              </td>
            </Row>
          ))}
        </Table>
      )}
    </section>
  );
}

/** Returns "delivered: HTTP 204" or "pending: responded with 500". */
function outcome({ status, tries }: WebhookDeliveryObject): string {
  const last = tries.at(-1);
  if (!last) return status;
  return last.error === null ? `${status}: HTTP ${last.status_code}` : `${status}: ${last.error}`;
}
