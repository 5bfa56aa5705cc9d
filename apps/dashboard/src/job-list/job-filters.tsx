import type { JobObject } from '@graft/contracts';
import { JOB_KINDS, KIND_NOUNS, kindOf } from '@graft/contracts/job-kinds';
import { methodNames } from '@graft/contracts/job-method';
import { JOB_STATUSES } from '@graft/contracts/job-status';
import { Group, ListFilter, X } from 'lucide-react';
import { useRef } from 'react';
import { Menu } from '../ui/overlays/menu.js';
import { GROUPINGS, isFiltered, SHELVES, type Grouping, type JobQuery } from './job-query.js';

interface Props {
  readonly query: JobQuery;
  readonly change: (part: Partial<JobQuery>) => void;
  readonly jobs: readonly JobObject[];
}

const SHELF_NAMES = {
  listed: 'Not archived',
  archived: 'Archived',
  deleted: 'Deleted, restorable',
} as const;

/** Collects the values to offer: those of all jobs listed so far, including jobs that a filter now hides. */
function useSeen(jobs: readonly JobObject[], query: JobQuery) {
  const seen = useRef({
    tags: new Set<string>(),
    models: new Set<string>(),
    methods: new Set<string>(),
  });
  const { tags, models, methods } = seen.current;
  for (const tag of query.tags) tags.add(tag);
  if (query.model) models.add(query.model);
  if (query.method) methods.add(query.method);
  for (const job of jobs) {
    for (const tag of job.graft.tags) tags.add(tag);
    models.add(job.model);
    if (kindOf(job) === 'training') for (const name of methodNames(job)) methods.add(name);
  }
  const sorted = (values: Set<string>) => [...values].sort((a, b) => a.localeCompare(b));
  return { tags: sorted(tags), models: sorted(models), methods: sorted(methods) };
}

/** Menu that sets the filters. */
export function FilterMenu({ query, change, jobs }: Props) {
  const seen = useSeen(jobs, query);
  return (
    <Menu label="Filter" icon={<ListFilter />}>
      <div className="filter-fields">
        <Choice
          label="State"
          value={query.status}
          values={JOB_STATUSES}
          choose={(status) => change({ status })}
        />
        <Choice
          label="Kind"
          value={query.kind}
          values={JOB_KINDS}
          names={KIND_NOUNS}
          choose={(kind) => change({ kind: JOB_KINDS.find((one) => one === kind) ?? '' })}
        />
        <Choice
          label="Method"
          value={query.method}
          values={seen.methods}
          choose={(method) => change({ method })}
        />
        <Choice
          label="Base"
          value={query.model}
          values={seen.models}
          choose={(model) => change({ model })}
        />
        <Choice
          label="Tag"
          value=""
          values={seen.tags.filter((tag) => !query.tags.includes(tag))}
          choose={(tag) => change({ tags: [...query.tags, tag] })}
        />
        <label>
          <span>Show</span>
          <select
            aria-label="Jobs to show"
            value={query.shelf}
            onChange={(e) => change({ shelf: SHELVES.find((one) => one === e.target.value)! })}
          >
            {SHELVES.map((shelf) => (
              <option key={shelf} value={shelf}>
                {SHELF_NAMES[shelf]}
              </option>
            ))}
          </select>
        </label>
      </div>
    </Menu>
  );
}

/** Active filters. Each can be removed. */
export function FilterChips({ query, change }: Omit<Props, 'jobs'>) {
  if (!isFiltered(query)) return null;
  const { status, kind, method, model, tags, shelf } = query;
  const chips: readonly (readonly [name: string, value: string, without: Partial<JobQuery>])[] = [
    ['State', status, { status: '' }],
    ['Kind', kind && KIND_NOUNS[kind], { kind: '' }],
    ['Method', method, { method: '' }],
    ['Base', model, { model: '' }],
    ...tags.map((tag) => ['Tag', tag, { tags: tags.filter((one) => one !== tag) }] as const),
    ['Show', shelf === 'listed' ? '' : SHELF_NAMES[shelf], { shelf: 'listed' }],
  ];
  return (
    <div className="chips" role="group" aria-label="Active filters">
      {chips
        .filter(([, value]) => value !== '')
        .map(([name, value, without]) => (
          <button
            key={`${name} ${value}`}
            className="chip"
            aria-label={`Remove the filter for ${name.toLowerCase()} ${value}`}
            onClick={() => change(without)}
          >
            <span className="faint">{name}</span> {value} <X aria-hidden="true" />
          </button>
        ))}
      <button
        className="quiet small"
        onClick={() =>
          change({ status: '', method: '', kind: '', model: '', tags: [], shelf: 'listed' })
        }
      >
        Clear filters
      </button>
    </div>
  );
}

const GROUPING_NAMES: Readonly<Record<Grouping, string>> = {
  none: 'None',
  sweep: 'Sweep',
  tag: 'Tag',
  model: 'Base',
};

/** Menu that groups the list. */
export function GroupMenu({ query, change }: Omit<Props, 'jobs'>) {
  const label = query.group === 'none' ? 'Group' : `Group: ${GROUPING_NAMES[query.group]}`;
  return (
    <Menu label={label} icon={<Group />}>
      <div role="radiogroup" aria-label="Group by" className="filter-fields">
        {GROUPINGS.map((group) => (
          <label key={group} className="menu-radio">
            <input
              type="radio"
              name="group"
              checked={query.group === group}
              onChange={() => change({ group })}
            />{' '}
            {GROUPING_NAMES[group]}
          </label>
        ))}
      </div>
    </Menu>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly value: string;
  readonly values: readonly string[];
  /** Display texts of values. The default is the value itself. */
  readonly names?: Readonly<Record<string, string>>;
  readonly choose: (value: string) => void;
}

const Choice = ({ label, value, values, names, choose }: ChoiceProps) => (
  <label>
    <span>{label}</span>
    <select
      aria-label={`Filter by ${label.toLowerCase()}`}
      value={value}
      disabled={values.length === 0}
      onChange={(e) => choose(e.target.value)}
    >
      <option value="">Any</option>
      {values.map((one) => (
        <option key={one} value={one}>
          {names?.[one] ?? one}
        </option>
      ))}
    </select>
  </label>
);
