// Groups of the navigation and their pages.
import type { Scope } from '@graft/contracts';
import type { LinkProps } from '@tanstack/react-router';
import {
  Building2,
  ChartColumn,
  CirclePlus,
  Database,
  FlaskConical,
  Layers,
  MessageSquareText,
  Rows3,
  Server,
  Settings,
  Sparkles,
  Split,
  TriangleAlert,
  type LucideIcon,
} from 'lucide-react';

export interface Place {
  readonly to: Exclude<LinkProps['to'], undefined>;
  readonly label: string;
  /** Key that opens the page. */
  readonly key: string;
  readonly icon: LucideIcon;
  /** Scopes that a key needs for the page to be useful. */
  readonly needs: readonly Scope[];
  /** Whether the navigation shows the number of problems next to it. */
  readonly hasCount?: true;
}

export interface Group {
  /** Heading of the group. */
  readonly label: string;
  readonly places: readonly Place[];
}

/** The form for a new job. It is a button above the navigation. */
export const NEW_JOB: Place = {
  to: '/new',
  label: 'New job',
  key: 'n',
  icon: CirclePlus,
  needs: ['jobs:write', 'models:read', 'files:read'],
};

export const GROUPS: readonly Group[] = [
  {
    label: 'Train',
    places: [
      { to: '/', label: 'Jobs', key: 'g', icon: Rows3, needs: ['jobs:read'] },
      { to: '/sweeps', label: 'Sweeps', key: 's', icon: Split, needs: ['jobs:read'] },
      {
        to: '/find',
        label: 'Find a method',
        key: 'h',
        icon: Sparkles,
        needs: ['jobs:write', 'models:read', 'files:read'],
      },
    ],
  },
  {
    label: 'Data and models',
    places: [
      { to: '/files', label: 'Files', key: 'u', icon: Database, needs: ['files:read'] },
      { to: '/models', label: 'Models', key: 'm', icon: Layers, needs: ['models:read'] },
      { to: '/chat', label: 'Try', key: 't', icon: MessageSquareText, needs: ['models:read'] },
      { to: '/evals', label: 'Evals', key: 'e', icon: FlaskConical, needs: ['jobs:read'] },
    ],
  },
  {
    label: 'Operate',
    places: [
      { to: '/cluster', label: 'Cluster', key: 'w', icon: Server, needs: ['jobs:read'] },
      { to: '/usage', label: 'Usage', key: 'l', icon: ChartColumn, needs: ['jobs:read'] },
      {
        to: '/problems',
        label: 'Problems',
        key: 'b',
        icon: TriangleAlert,
        needs: ['jobs:read'],
        hasCount: true,
      },
    ],
  },
  {
    label: 'Settings',
    places: [
      { to: '/settings', label: 'Project', key: 'o', icon: Settings, needs: ['jobs:read'] },
      { to: '/projects', label: 'Installation', key: 'y', icon: Building2, needs: ['admin'] },
    ],
  },
];

export const PLACES: readonly Place[] = [NEW_JOB, ...GROUPS.flatMap(({ places }) => places)];
