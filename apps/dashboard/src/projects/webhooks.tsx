// Webhook endpoints of a project and their deliveries.
import type { WebhookDeliveryObject, WebhookEndpointObject } from '@graft/contracts';
import { CirclePause, CirclePlay, KeyRound, List, Plus, Trash2, Webhook } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { ago, moment } from '../format.js';
import { Callout } from '../ui/feedback/callout.js';
import { Button } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Drawer } from '../ui/overlays/drawer.js';
import { ActionMenu, LINE } from '../ui/overlays/menu.js';
import { Section } from '../ui/page.js';
import { Secret } from '../ui/secret.js';
import { Row, Table } from '../ui/table.js';
import { ShortId } from './short-id.js';
import { EndpointForm, eventLabel, eventsText } from './webhook-form.js';

const REFRESH_MS = 3_000;

/** Webhook endpoints of the key's project, and their deliveries. */
export function WebhookSettings() {
  const endpoints = useLoaded(['webhooks'], api.webhooks, REFRESH_MS);
  const [made, setMade] = useState<WebhookEndpointObject | null>(null);
  const [chosen, setChosen] = useState<string | null>(null);
  const [isAdding, setAdding] = useState(false);
  const [tested, setTested] = useState<Tested | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const open = endpoints.value?.find(({ id }) => id === chosen) ?? null;
  const act = (work: Promise<unknown>) => {
    setError(null);
    work.then(endpoints.reload, setError);
  };
  const showSecret = (endpoint: WebhookEndpointObject) => {
    setMade(endpoint);
    setAdding(false);
    endpoints.reload();
  };
  const test = ({ id, name }: WebhookEndpointObject) => {
    setError(null);
    api
      .testWebhook(id)
      .then((delivery) => setTested({ endpoint: id, name, delivery: delivery.id }), setError);
  };
  const add = (
    <Button variant="primary" icon={<Plus />} onClick={() => setAdding(true)}>
      Add endpoint
    </Button>
  );
  return (
    <Section
      title="Webhooks"
      text={
        <>
          When a job, a sweep or an eval ends, Graft sends OpenAI’s event to these addresses. Verify
          it with <code>client.webhooks.unwrap()</code> of the OpenAI SDKs.
        </>
      }
      actions={endpoints.value && endpoints.value.length > 0 && add}
    >
      <Failure error={error ?? endpoints.error} />
      {made?.secret && <Secret of={`Secret of ${made.name}`} secret={made.secret} />}
      {tested && <TestResult key={tested.delivery} of={tested} close={() => setTested(null)} />}
      {endpoints.value === null ? (
        <Loading error={endpoints.error} />
      ) : endpoints.value.length === 0 ? (
        <EmptyState
          icon={<Webhook />}
          title="No endpoints yet"
          text="Notify Slack, a pipeline or your own service when a job ends or fails."
          actions={add}
        />
      ) : (
        <Table columns={['Name', 'Address', 'Events', 'State', 'Last delivered', '']}>
          {endpoints.value.map((endpoint) => (
            <EndpointRow
              key={endpoint.id}
              endpoint={endpoint}
              open={() => setChosen(endpoint.id)}
              test={() => test(endpoint)}
              act={act}
              showSecret={showSecret}
              failed={setError}
            />
          ))}
        </Table>
      )}
      {open && <Deliveries key={open.id} of={open} close={() => setChosen(null)} />}
      {isAdding && (
        <Drawer title="Add endpoint" close={() => setAdding(false)}>
          <EndpointForm made={showSecret} />
        </Drawer>
      )}
    </Section>
  );
}

interface Tested {
  readonly endpoint: string;
  readonly name: string;
  readonly delivery: string;
}

/** Result of a test delivery, as soon as the endpoint has responded. */
function TestResult({ of, close }: { of: Tested; close: () => void }) {
  const deliveries = useLoaded(
    ['deliveries', of.endpoint],
    async () => (await api.webhookDeliveries(of.endpoint)).data,
    1000,
  );
  const delivery = deliveries.value?.find(({ id }) => id === of.delivery);
  const isDone = (delivery?.tries.length ?? 0) > 0;
  const failed = delivery?.tries.at(-1)?.error ?? null;
  return (
    <Callout
      tone={failed === null ? 'info' : 'error'}
      isLive
      title={
        !isDone
          ? `Sending a test event to ${of.name}…`
          : failed === null
            ? `${of.name} received the test event`
            : `${of.name} did not accept the test event`
      }
      action={
        <Button size="s" onClick={close}>
          Dismiss
        </Button>
      }
    >
      {delivery && isDone && outcome(delivery)}
    </Callout>
  );
}

interface EndpointRowProps {
  readonly endpoint: WebhookEndpointObject;
  readonly open: () => void;
  readonly test: () => void;
  readonly act: (work: Promise<unknown>) => void;
  readonly showSecret: (endpoint: WebhookEndpointObject) => void;
  readonly failed: (error: Error) => void;
}

function EndpointRow({ endpoint, open, test, act, showSecret, failed }: EndpointRowProps) {
  const { id, name, enabled } = endpoint;
  const confirm = useConfirm();
  const rotate = () => {
    const message = `Create a new secret for ${name}? For 24 hours, deliveries are signed with both secrets. Then the old one stops working.`;
    const work = () => api.rotateWebhookSecret(id).then(showSecret, failed);
    confirm(message, 'Create new secret', work, { isDanger: false });
  };
  const remove = () => {
    const message = `Delete ${name}? Pending deliveries are not sent, and its delivery history is deleted.`;
    confirm(message, 'Delete', () => act(api.deleteWebhook(id)));
  };
  const toggle = () => act(api.changeWebhook(id, { enabled: !enabled }));
  return (
    <Row>
      <td className="break">{name}</td>
      <td className="break">{endpoint.url}</td>
      <td title={endpoint.event_types.join('\n')}>{eventsText(endpoint.event_types)}</td>
      <td>
        <State of={endpoint} />
      </td>
      <td className="numbers">
        {endpoint.last_delivered_at === null ? 'never' : ago(endpoint.last_delivered_at)}
      </td>
      <td className="actions">
        <Button size="s" aria-label={`Send test to ${name}`} disabled={!enabled} onClick={test}>
          Send test
        </Button>
        <ActionMenu
          label={`Actions for ${name}`}
          actions={[
            { label: 'Deliveries', icon: <List />, act: open },
            {
              label: enabled ? 'Disable' : 'Enable',
              icon: enabled ? <CirclePause /> : <CirclePlay />,
              act: toggle,
            },
            { label: 'New secret…', icon: <KeyRound />, act: rotate },
            LINE,
            { label: 'Delete…', icon: <Trash2 />, isDanger: true, act: remove },
          ]}
        />
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

function Deliveries({
  of: { id, name, enabled },
  close,
}: {
  of: WebhookEndpointObject;
  close: () => void;
}) {
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
    <Drawer title={`Deliveries to ${name}`} close={close}>
      <Failure error={error ?? deliveries.error} />
      {deliveries.value === null ? (
        <Loading error={deliveries.error} />
      ) : deliveries.value.length === 0 ? (
        <p className="faint">No deliveries in the last 30 days.</p>
      ) : (
        <Table columns={['Event', 'Object', 'Sent', 'Result', 'Attempts', '']}>
          {deliveries.value.map((delivery) => (
            <Row key={delivery.id}>
              <td title={delivery.event.type}>{eventLabel(delivery.event.type)}</td>
              <td>
                <ShortId id={delivery.event.data.id} />
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
    </Drawer>
  );
}

/** Returns "delivered: HTTP 204" or "pending: responded with 500". */
function outcome({ status, tries }: WebhookDeliveryObject): string {
  const last = tries.at(-1);
  if (!last) return status;
  return last.error === null ? `${status}: HTTP ${last.status_code}` : `${status}: ${last.error}`;
}
