import type { AuditLogObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api } from '../api/api.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { Row, Table } from '../ui/table.js';
import { ShortId } from './short-id.js';

const SIZE = 50;

/** Audit actions by object type, as the API writes them. */
export const AUDIT_ACTIONS = [
  ...['api_key.created', 'api_key.deleted'],
  ...['file.created', 'file.deleted'],
  ...['job.created', 'job.cancelled', 'job.paused', 'job.resumed', 'job.interrupted'],
  ...['job.updated', 'job.deleted', 'job.restored'],
  ...['join_token.created', 'join_token.deleted'],
  ...['model.imported', 'model.pushed', 'model.deleted'],
  ...['pool.opened', 'pool.closed', 'pool.granted', 'pool.revoked'],
  ...['pool.cordoned', 'pool.uncordoned'],
  ...['project.created', 'project.updated', 'project.archived'],
  ...['project.deletion_requested', 'project.restored', 'project.deleted'],
  ...['upload.created', 'upload.continued', 'upload.completed', 'upload.cancelled'],
  ...['user.added', 'user.updated', 'user.deleted'],
  ...['worker.drained', 'worker.cordoned', 'worker.uncordoned', 'worker.deleted'],
] as const;

/** Returns "Join token created" for `join_token.created`. */
export function actionText(action: string): string {
  const words = action
    .replaceAll('_', ' ')
    .replace('.', ' ')
    .replace(/^api key/, 'API key');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Names of the filters in the address. */
const FILTERS = ['type', 'actor', 'resource', 'from', 'to'] as const;
type Filters = Readonly<Record<(typeof FILTERS)[number], string>>;

const filtersOf = (parameters: URLSearchParams): Filters =>
  Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? ''])) as Filters;

/**
 * Returns the Unix time in seconds at which a day starts in the local time zone. Null if the text
 * is not a date.
 */
function dayStart(day: string, plus = 0): string | null {
  const [year, month, date] = day.split('-').map(Number);
  const at = new Date(year ?? NaN, (month ?? NaN) - 1, (date ?? NaN) + plus).getTime();
  return Number.isNaN(at) ? null : String(Math.floor(at / 1000));
}

/** Whether a text is the id of a member or key: twelve random letters and digits, which no name resembles. */
const isId = (actor: string): boolean =>
  actor.startsWith('member-') || /^(?=.+[A-Z\d])[A-Za-z\d]{12}$/.test(actor);

/** Builds the request for a page. The actor is an id or a member's name. */
export function auditQuery(
  { type, actor, resource, from, to }: Filters,
  project: string | null,
): URLSearchParams {
  const query = new URLSearchParams({ limit: String(SIZE) });
  const set = (name: string, value: string | null) => value && query.set(name, value);
  set('project_ids[]', project);
  set('event_types[]', type);
  set(isId(actor) ? 'actor_ids[]' : 'actor_emails[]', actor);
  set('resource_ids[]', resource);
  set('effective_at[gte]', dayStart(from));
  set('effective_at[lt]', dayStart(to, 1));
  return query;
}

interface Props {
  /** Null selects the whole installation. */
  readonly project: string | null;
  readonly parameters: URLSearchParams;
}

/** Audit log, newest first. */
export function AuditLog({ project, parameters }: Props) {
  const filters = filtersOf(parameters);
  const query = auditQuery(filters, project);
  const navigate = useNavigate();
  const go = (filter: Partial<Filters>) =>
    void navigate({
      to: '.',
      search: { tab: 'audit', ...filter },
      replace: true,
      resetScroll: false,
    });
  const set = (name: keyof Filters, value: string) => {
    const next = { ...filters, [name]: value };
    go(Object.fromEntries(Object.entries(next).filter(([, word]) => word !== '')));
  };
  const filtered = FILTERS.some((name) => filters[name] !== '');
  return (
    <>
      <FilterBar filters={filters} set={set} clear={filtered ? () => go({}) : null} />
      <Entries key={query.toString()} query={query} project={project} filtered={filtered} />
    </>
  );
}

interface FilterProps {
  readonly filters: Filters;
  readonly set: (name: keyof Filters, value: string) => void;
  readonly clear: (() => void) | null;
}

function FilterBar({ filters, set, clear }: FilterProps) {
  return (
    <div className="bar" role="search" aria-label="Filter the audit log">
      <label className="field">
        Action
        <select
          aria-label="Action"
          value={filters.type}
          onChange={(e) => set('type', e.target.value)}
        >
          <option value="">all actions</option>
          {AUDIT_ACTIONS.map((action) => (
            <option key={action} value={action}>
              {actionText(action)}
            </option>
          ))}
        </select>
      </label>
      <Typed
        key={`actor ${filters.actor}`}
        label="Actor"
        name="Actor (member or key)"
        placeholder="a name or an id"
        value={filters.actor}
        set={(value) => set('actor', value)}
      />
      <Typed
        key={`resource ${filters.resource}`}
        label="Target"
        name="Target (ID)"
        placeholder="ftjob-…"
        value={filters.resource}
        set={(value) => set('resource', value)}
      />
      <label className="field">
        From
        <input
          type="date"
          aria-label="From date"
          value={filters.from}
          onChange={(e) => set('from', e.target.value)}
        />
      </label>
      <label className="field">
        To
        <input
          type="date"
          aria-label="To date"
          value={filters.to}
          onChange={(e) => set('to', e.target.value)}
        />
      </label>
      {clear && (
        <Button className="bottom" onClick={clear}>
          Clear filters
        </Button>
      )}
    </div>
  );
}

/** Text filter that is applied with Enter or when it loses the focus. */
function Typed({
  label,
  name,
  placeholder,
  value,
  set,
}: {
  label: string;
  name: string;
  placeholder: string;
  value: string;
  set: (value: string) => void;
}) {
  const [text, setText] = useState(value);
  const finish = () => text.trim() !== value && set(text.trim());
  return (
    <label className="field">
      {label}
      <input
        aria-label={name}
        placeholder={placeholder}
        value={text}
        onChange={(e) => setText(e.target.value)}
        onKeyDown={(e) => e.key === 'Enter' && finish()}
        onBlur={finish}
      />
    </label>
  );
}

function Entries({
  query,
  project,
  filtered,
}: {
  query: URLSearchParams;
  project: string | null;
  filtered: boolean;
}) {
  const [pages, setPages] = useState<readonly string[]>([]);
  const after = pages.at(-1);
  return (
    <EntryPage
      key={after ?? ''}
      query={after ? new URLSearchParams([...query, ['after', after]]) : query}
      project={project}
      filtered={filtered}
      newer={after === undefined ? null : () => setPages(pages.slice(0, -1))}
      older={(id) => setPages([...pages, id])}
    />
  );
}

interface PageProps {
  readonly query: URLSearchParams;
  readonly project: string | null;
  readonly filtered: boolean;
  readonly newer: (() => void) | null;
  readonly older: (last: string) => void;
}

function EntryPage({ query, project, filtered, newer, older }: PageProps) {
  const page = useLoaded(['audit', query.toString()], () => api.auditLog(query));
  const entries = page.value?.data ?? [];
  const last = page.value?.has_more ? entries.at(-1)?.id : undefined;
  return (
    <>
      <Failure error={page.error} />
      {page.value === null && <Loading error={page.error} />}
      {page.value && entries.length === 0 && (
        <p className="faint">{filtered ? 'No entries match these filters.' : 'No entries yet.'}</p>
      )}
      {entries.length > 0 && (
        <Table
          columns={[
            'Time',
            'Actor',
            'Action',
            'Target',
            ...(project === null ? ['Project'] : []),
            'Details',
            'IP address',
          ]}
        >
          {entries.map((entry) => (
            <Row key={entry.id}>
              <td className="numbers">
                <time
                  dateTime={new Date(entry.effective_at * 1000).toISOString()}
                  title={moment(entry.effective_at)}
                >
                  {ago(entry.effective_at)}
                </time>
              </td>
              <td className="break">
                <Actor entry={entry} />
              </td>
              <td title={entry.type}>{actionText(entry.type)}</td>
              <td className="break">
                <ShortId id={entry.graft.target} />
              </td>
              {project === null && (
                <td className="break">{entry.project?.name ?? 'the installation'}</td>
              )}
              <td className="break">{details(entry.graft.detail)}</td>
              <td className="break">{entry.graft.ip_address ?? '–'}</td>
            </Row>
          ))}
        </Table>
      )}
      {(newer || last) && (
        <p className="bar pages">
          <Button disabled={!newer} onClick={() => newer?.()}>
            Newer
          </Button>
          <Button disabled={!last} onClick={() => last && older(last)}>
            Older
          </Button>
        </p>
      )}
    </>
  );
}

function Actor({ entry: { actor, graft } }: { entry: AuditLogObject }) {
  if (actor === null) return <>system</>;
  const { id, user } = actor.api_key;
  return (
    <>
      {user?.name ?? graft.key_name ?? id}
      <div className="faint">{user ? `with key ${graft.key_name ?? id}` : <ShortId id={id} />}</div>
    </>
  );
}

/** Formats details: "name: ada, limits: (chats: 2)". */
export const details = (detail: Readonly<Record<string, unknown>>): string =>
  Object.entries(detail)
    .map(([name, value]) => `${name}: ${valueText(value)}`)
    .join(', ') || '–';

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.map(valueText).join(' ');
  if (typeof value === 'object' && value !== null)
    return `(${details(value as Record<string, unknown>)})`;
  return value === null ? 'none' : String(value);
}
