import type { WebhookEndpointObject } from '@graft/contracts';
import {
  WEBHOOK_EVENT_TYPES,
  WEBHOOK_TEST,
  type WebhookEventType,
} from '@graft/contracts/webhooks';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { Button } from '../ui/controls/button.js';
import { Field, fieldTexts } from '../ui/controls/field.js';
import { Failure } from '../ui/feedback/failure.js';

/** Groups whose label differs before one event. */
const SINGULAR: Readonly<Record<string, string>> = {
  Jobs: 'Job',
  Sweeps: 'Sweep',
  'Eval runs': 'Eval run',
  Webhooks: 'Webhook',
};

/** Events in groups, with the words for each. */
const EVENT_GROUPS: readonly (readonly [
  group: string,
  events: readonly (readonly [type: WebhookEventType, label: string])[],
])[] = [
  [
    'Jobs',
    [
      ['fine_tuning.job.succeeded', 'succeeded'],
      ['fine_tuning.job.failed', 'failed'],
      ['fine_tuning.job.cancelled', 'cancelled'],
      ['graft.job.warning', 'warning'],
    ],
  ],
  [
    'Sweeps',
    [
      ['graft.sweep.succeeded', 'succeeded'],
      ['graft.sweep.failed', 'failed'],
      ['graft.sweep.cancelled', 'cancelled'],
    ],
  ],
  [
    'Eval runs',
    [
      ['eval.run.succeeded', 'succeeded'],
      ['eval.run.failed', 'failed'],
      ['eval.run.canceled', 'cancelled'],
    ],
  ],
  ['Webhooks', [['graft.webhook_endpoint.disabled', 'disabled after failures']]],
];

const LABELS: ReadonlyMap<string, string> = new Map(
  EVENT_GROUPS.flatMap(([group, events]) =>
    events.map(([type, label]) => [type, `${SINGULAR[group] ?? group} ${label}`] as const),
  ),
);

/** Returns "Job failed" for `fine_tuning.job.failed`. */
export const eventLabel = (type: string): string =>
  LABELS.get(type) ?? (type === WEBHOOK_TEST ? 'Test' : type);

/** Returns "all events", or the events by group: "Jobs: failed, warning · Sweeps: all". */
export function eventsText(types: readonly string[]): string {
  if (types.length === WEBHOOK_EVENT_TYPES.length) return 'all events';
  const groups = EVENT_GROUPS.flatMap(([group, events]) => {
    const chosen = events.filter(([type]) => types.includes(type));
    if (chosen.length === 0) return [];
    const words =
      chosen.length === events.length ? 'all' : chosen.map(([, label]) => label).join(', ');
    return [`${group}: ${words}`];
  });
  return groups.join(' · ') || 'none';
}

/** Form that creates an endpoint. */
export function EndpointForm({ made }: { made: (endpoint: WebhookEndpointObject) => void }) {
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
  const toggle = (type: WebhookEventType, on: boolean) =>
    setTypes(WEBHOOK_EVENT_TYPES.filter((one) => (one === type ? on : types.includes(one))));
  return (
    <form className="stack" onSubmit={submit}>
      <Field id="webhook-name" label="Name">
        <input
          id="webhook-name"
          required
          placeholder="e.g. Slack relay"
          value={name}
          onChange={(e) => setName(e.target.value)}
        />
      </Field>
      <Field
        id="webhook-url"
        label="Address"
        help="Receives POST requests with JSON"
        problem={error instanceof ApiError && error.param === 'url' ? error.message : null}
      >
        <input
          id="webhook-url"
          required
          type="url"
          placeholder="https://example.com/hook"
          aria-describedby={fieldTexts('webhook-url', { help: true, problem: error })}
          value={url}
          onChange={(e) => setUrl(e.target.value)}
        />
      </Field>
      {EVENT_GROUPS.map(([group, events]) => (
        <fieldset key={group} className="bar events">
          <legend>{group}</legend>
          {events.map(([type, label]) => (
            <label key={type} title={type}>
              <input
                type="checkbox"
                aria-label={eventLabel(type)}
                checked={types.includes(type)}
                onChange={({ target }) => toggle(type, target.checked)}
              />{' '}
              {label}
            </label>
          ))}
        </fieldset>
      ))}
      {error instanceof ApiError && error.param === 'url' ? null : <Failure error={error} />}
      <Button type="submit" variant="primary" disabled={types.length === 0}>
        Add endpoint
      </Button>
    </form>
  );
}
