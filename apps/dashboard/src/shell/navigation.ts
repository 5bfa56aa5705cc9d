// Groups of the navigation and their pages.
import type { Scope } from '@graft/contracts';
import type { LinkProps } from '@tanstack/react-router';

export interface Place {
  readonly to: Exclude<LinkProps['to'], undefined>;
  readonly label: string;
  readonly key: string;
  /** Scopes that a key needs for the page to be useful. */
  readonly needs: readonly Scope[];
  /** Scope whose holders reach the same content elsewhere. The page is hidden from their navigation. */
  readonly unless?: Scope;
}

export interface Group {
  /** Heading of the group. */
  readonly label: string;
  readonly places: readonly Place[];
}

export const GROUPS: readonly Group[] = [
  {
    label: 'Train',
    places: [
      { to: '/', label: 'Jobs', key: 'g', needs: ['jobs:read'] },
      {
        to: '/new',
        label: 'New job',
        key: 'n',
        needs: ['jobs:write', 'models:read', 'files:read'],
      },
      { to: '/sweeps', label: 'Sweeps', key: 's', needs: ['jobs:read'] },
    ],
  },
  { label: 'Data', places: [{ to: '/files', label: 'Files', key: 'u', needs: ['files:read'] }] },
  {
    label: 'Models',
    places: [
      { to: '/models', label: 'Models', key: 'm', needs: ['models:read'] },
      { to: '/evals', label: 'Evals', key: 'e', needs: ['jobs:read'] },
    ],
  },
  { label: 'Try', places: [{ to: '/chat', label: 'Chat', key: 't', needs: ['models:read'] }] },
  {
    label: 'Operate',
    places: [
      { to: '/workers', label: 'Workers', key: 'w', needs: ['jobs:read'] },
      { to: '/pools', label: 'Pools', key: 'l', needs: ['jobs:read'] },
    ],
  },
  {
    label: 'Settings',
    places: [
      { to: '/project', label: 'Project', key: 'o', needs: ['jobs:read'], unless: 'admin' },
      { to: '/projects', label: 'Projects', key: 'o', needs: ['admin'] },
      { to: '/webhooks', label: 'Webhooks', key: 'b', needs: ['project:admin'] },
      { to: '/keys', label: 'Keys', key: 'y', needs: ['admin'] },
    ],
  },
];

export const PLACES: readonly Place[] = GROUPS.flatMap(({ places }) => places);
