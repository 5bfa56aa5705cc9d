import type { IntegrationObject } from '@graft/contracts';
import {
  INTEGRATION_NAMES,
  INTEGRATION_TYPES,
  type IntegrationType,
} from '@graft/contracts/integration-names';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { Row, Table } from '../ui/table.js';

const REFRESH_MS = 5_000;

/** Experiment trackers of the key's project. */
export function Trackers() {
  const trackers = useLoaded(['integrations'], api.integrations, REFRESH_MS);
  const [chosen, setChosen] = useState<IntegrationType | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const confirm = useConfirm();
  const forget = (type: IntegrationType) => {
    const message = `Delete ${INTEGRATION_NAMES[type]}? Unsent metrics of running jobs are discarded. Existing runs on the tracker are kept.`;
    setError(null);
    confirm(message, 'Delete', () => api.deleteIntegration(type).then(trackers.reload, setError));
  };
  const done = () => {
    setChosen(null);
    trackers.reload();
  };
  const list = trackers.value ?? [];
  return (
    <>
      <p>
        Jobs are logged to these trackers as runs: their spec, their metrics while they train, and
        their outcome.
      </p>
      <Failure error={error ?? trackers.error} />
      {trackers.value === null && <Loading error={trackers.error} />}
      {list.length > 0 && (
        <Table columns={['Tracker', 'Address', 'Destination', 'Jobs', 'State', 'Last sent', '']}>
          {list.map((one) => (
            <Row key={one.id}>
              <td>{INTEGRATION_NAMES[one.type]}</td>
              <td className="break">{one.url}</td>
              <td className="break">{[one.entity, one.project].filter(Boolean).join('/')}</td>
              <td>{one.every_job ? 'every job' : 'jobs that request it'}</td>
              <td>
                <State of={one} />
              </td>
              <td className="numbers">
                {one.last_sent_at === null ? 'never' : ago(one.last_sent_at)}
              </td>
              <td className="actions">
                <button
                  aria-label={`Change ${INTEGRATION_NAMES[one.type]}`}
                  onClick={() => setChosen(one.type)}
                >
                  Change
                </button>
                <button
                  aria-label={`Delete ${INTEGRATION_NAMES[one.type]}`}
                  onClick={() => forget(one.type)}
                >
                  Delete
                </button>
              </td>
            </Row>
          ))}
        </Table>
      )}
      {trackers.value !== null && (
        <div className="bar">
          {INTEGRATION_TYPES.filter((type) => !list.some((one) => one.type === type)).map(
            (type) => (
              <button key={type} onClick={() => setChosen(type)}>
                Set up {INTEGRATION_NAMES[type]}
              </button>
            ),
          )}
        </div>
      )}
      {chosen && (
        <TrackerForm
          key={chosen}
          type={chosen}
          before={list.find(({ type }) => type === chosen) ?? null}
          done={done}
          close={() => setChosen(null)}
        />
      )}
    </>
  );
}

/** Shape and word in addition to color, for users who cannot distinguish colors. */
function State({ of: { failing_since: since, last_error: error } }: { of: IntegrationObject }) {
  return (
    <>
      {since === null ? (
        <span className="pill good">
          <span aria-hidden="true">✓</span> on
        </span>
      ) : (
        <span className="pill bad" title={`since ${moment(since)}`}>
          <span aria-hidden="true">✕</span> failing
        </span>
      )}{' '}
      {error && <span className="faint break">{error}</span>}
    </>
  );
}

interface FormProps {
  readonly type: IntegrationType;
  readonly before: IntegrationObject | null;
  readonly done: () => void;
  readonly close: () => void;
}

interface Draft {
  readonly url: string;
  readonly username: string;
  readonly api_key: string;
  readonly entity: string;
  readonly project: string;
  readonly every_job: boolean;
}

const draftOf = (type: IntegrationType, before: IntegrationObject | null): Draft => ({
  url: before?.url ?? (type === 'wandb' ? 'https://api.wandb.ai' : ''),
  username: before?.username ?? '',
  api_key: '',
  entity: before?.entity ?? '',
  project: before?.project ?? 'graft',
  every_job: before?.every_job ?? false,
});

/**
 * Form with all settings of a tracker. Saving replaces all of them, including the key, which is
 * never shown.
 */
function TrackerForm({ type, before, done, close }: FormProps) {
  const [draft, setDraft] = useState(draftOf(type, before));
  const [error, setError] = useState<Error | null>(null);
  const change = (more: Partial<Draft>) => setDraft({ ...draft, ...more });
  const isWandb = type === 'wandb';
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    const { every_job, ...texts } = draft;
    const entries = Object.entries(texts).filter(([, text]) => text.trim() !== '');
    api.setIntegration(type, { ...Object.fromEntries(entries), every_job }).then(done, setError);
  };
  return (
    <section className="card" aria-label={INTEGRATION_NAMES[type]}>
      <h2>{INTEGRATION_NAMES[type]}</h2>
      <form onSubmit={submit}>
        <div className="bar">
          <Field label="Address" required value={draft.url} change={(url) => change({ url })} />
          {!isWandb && (
            <Field
              label="User name"
              value={draft.username}
              change={(username) => change({ username })}
            />
          )}
          <Field
            label={isWandb ? 'API key' : draft.username ? 'Password' : 'Token'}
            secret
            required={isWandb}
            value={draft.api_key}
            change={(api_key) => change({ api_key })}
          />
          {isWandb && (
            <Field label="Team" value={draft.entity} change={(entity) => change({ entity })} />
          )}
          <Field
            label={isWandb ? 'Project' : 'Experiment'}
            required
            value={draft.project}
            change={(project) => change({ project })}
          />
        </div>
        <label>
          <input
            type="checkbox"
            checked={draft.every_job}
            onChange={({ target }) => change({ every_job: target.checked })}
          />{' '}
          Log every job, not only those that request it
        </label>
        {before && <p className="faint">The stored key cannot be shown; enter it again.</p>}
        <Failure error={error} />
        <div className="bar">
          <button className="main">Save</button>
          <button type="button" onClick={close}>
            Close
          </button>
        </div>
      </form>
    </section>
  );
}

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly change: (value: string) => void;
  readonly required?: boolean;
  readonly secret?: boolean;
}

function Field({ label, value, change, required = false, secret = false }: FieldProps) {
  return (
    <label className="field">
      {label}
      <input
        required={required}
        type={secret ? 'password' : 'text'}
        autoComplete="off"
        value={value}
        onChange={(e) => change(e.target.value)}
      />
    </label>
  );
}
