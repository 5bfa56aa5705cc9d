// All addresses of the dashboard. router.tsx assigns their pages. Links and navigation are checked
// against this list at compile time.
import { createRootRoute, createRoute } from '@tanstack/react-router';
import type { Search } from './address.js';

declare module '@tanstack/react-router' {
  interface StaticDataRouteOption {
    /** Navigation item that the address belongs to. */
    readonly place?: string;
    /** Whether the page sets the browser tab's title itself. */
    readonly isTitled?: true;
  }
}

/** Types the named query parameters as optional strings. Does not check values or remove other parameters. */
const stringParameters =
  <Name extends string = never>() =>
  (given: Search): Readonly<Partial<Record<Name, string>>> =>
    given as Readonly<Partial<Record<Name, string>>>;

type AuditParameters = 'tab' | 'type' | 'actor' | 'resource' | 'from' | 'to';
type JobParameters =
  'q' | 'status' | 'model' | 'method' | 'kind' | 'show' | 'sort' | 'order' | 'group';

export const root = createRootRoute();
const getParentRoute = () => root;

export const jobs = createRoute({
  getParentRoute,
  path: '/',
  staticData: { place: 'Jobs' },
  validateSearch: (given: Search) =>
    given as Readonly<Partial<Record<JobParameters, string>>> & {
      readonly tag?: string | readonly string[];
    },
});
export const job = createRoute({
  getParentRoute,
  path: '/jobs/$id',
  staticData: { place: 'Jobs', isTitled: true },
  validateSearch: stringParameters<'tab'>(),
});
export const compare = createRoute({
  getParentRoute,
  path: '/compare',
  staticData: { place: 'Jobs' },
  validateSearch: stringParameters<'jobs'>(),
  remountDeps: ({ search }) => search.jobs ?? '',
});
export const newJob = createRoute({
  getParentRoute,
  path: '/new',
  staticData: { place: 'New job' },
  validateSearch: stringParameters<'from' | 'checkpoint' | 'training_file' | 'model'>(),
  // A form for another source is remounted, so that it sends no part of the previous draft.
  remountDeps: ({ search: { from, checkpoint, training_file: file, model } }) => [
    from,
    checkpoint,
    file,
    model,
  ],
});
export const find = createRoute({
  getParentRoute,
  path: '/find',
  staticData: { place: 'Find a method' },
});
export const sweeps = createRoute({
  getParentRoute,
  path: '/sweeps',
  staticData: { place: 'Sweeps' },
});
export const sweep = createRoute({
  getParentRoute,
  path: '/sweeps/$id',
  staticData: { place: 'Sweeps', isTitled: true },
});
export const files = createRoute({
  getParentRoute,
  path: '/files',
  staticData: { place: 'Files' },
  validateSearch: stringParameters<'purpose'>(),
  remountDeps: ({ search }) => search.purpose ?? '',
});
export const file = createRoute({
  getParentRoute,
  path: '/files/$id',
  staticData: { place: 'Files', isTitled: true },
  validateSearch: stringParameters<'after'>(),
});
export const models = createRoute({
  getParentRoute,
  path: '/models',
  staticData: { place: 'Models' },
});
export const evals = createRoute({
  getParentRoute,
  path: '/evals',
  staticData: { place: 'Evals' },
});
export const evaluation = createRoute({
  getParentRoute,
  path: '/evals/$id',
  staticData: { place: 'Evals', isTitled: true },
});
export const evalCompare = createRoute({
  getParentRoute,
  path: '/evals/$id/compare',
  staticData: { place: 'Evals', isTitled: true },
  validateSearch: stringParameters<'left' | 'right'>(),
  remountDeps: ({ search: { left = '', right = '' } }) => [left, right],
});
export const evalRun = createRoute({
  getParentRoute,
  path: '/evals/$id/$run',
  staticData: { place: 'Evals', isTitled: true },
  validateSearch: stringParameters<'status' | 'after'>(),
});
export const chat = createRoute({
  getParentRoute,
  path: '/chat',
  staticData: { place: 'Try' },
  validateSearch: stringParameters<'model' | 'with'>(),
});
export const cluster = createRoute({
  getParentRoute,
  path: '/cluster',
  staticData: { place: 'Cluster' },
  validateSearch: stringParameters<'view'>(),
});
export const usage = createRoute({
  getParentRoute,
  path: '/usage',
  staticData: { place: 'Usage' },
  validateSearch: stringParameters<'range' | 'by'>(),
});
export const problems = createRoute({
  getParentRoute,
  path: '/problems',
  staticData: { place: 'Problems' },
});
/** Former addresses of the cluster. */
export const workers = createRoute({ getParentRoute, path: '/workers' });
export const pools = createRoute({ getParentRoute, path: '/pools' });
export const pool = createRoute({
  getParentRoute,
  path: '/pools/$name',
  staticData: { place: 'Cluster', isTitled: true },
});
export const settings = createRoute({
  getParentRoute,
  path: '/settings',
  staticData: { place: 'Project', isTitled: true },
  validateSearch: stringParameters<AuditParameters>(),
});
export const projects = createRoute({
  getParentRoute,
  path: '/projects',
  staticData: { place: 'Installation' },
  validateSearch: stringParameters<AuditParameters>(),
});
export const project = createRoute({
  getParentRoute,
  path: '/projects/$id',
  staticData: { place: 'Installation', isTitled: true },
  validateSearch: stringParameters<AuditParameters>(),
});
/** Former addresses of settings. */
export const ownProject = createRoute({
  getParentRoute,
  path: '/project',
  validateSearch: stringParameters<AuditParameters>(),
});
export const webhooks = createRoute({ getParentRoute, path: '/webhooks' });
export const keys = createRoute({ getParentRoute, path: '/keys' });

/** Components of the design system; only in development builds. */
export const gallery = createRoute({
  getParentRoute,
  path: '/gallery',
});

export const tree = root.addChildren([
  jobs,
  job,
  compare,
  newJob,
  find,
  sweeps,
  sweep,
  files,
  file,
  models,
  evals,
  evaluation,
  evalCompare,
  evalRun,
  chat,
  cluster,
  usage,
  problems,
  workers,
  pools,
  pool,
  settings,
  ownProject,
  projects,
  project,
  webhooks,
  keys,
  gallery,
]);
