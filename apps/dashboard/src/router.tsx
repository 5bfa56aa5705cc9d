// Pages by address. A page's code is loaded when it is first opened, so the first page loads only
// what it needs.
import {
  Navigate,
  createRouter,
  lazyRouteComponent,
  type AsyncRouteComponent,
} from '@tanstack/react-router';
import { parametersOf, parseSearch, stringifySearch } from './address.js';
import { App } from './shell/app.js';
import { Broken } from './shell/error-boundary.js';
import { isLost, probe, whenBack } from './api/contact.js';
import { Loading } from './ui/feedback/loading.js';
import { PageNotFound } from './shell/page-not-found.js';
import { PAGES } from './page-code.js';
import * as routes from './routes.js';
import { parseQuery } from './job-list/job-query.js';

/** Loads code. If the server is down, the request is repeated when it is back. */
async function fetched<Module>(load: () => Promise<Module>): Promise<Module> {
  await whenBack();
  return load().catch(async (failure: unknown) => {
    await probe();
    if (!isLost()) throw failure;
    await whenBack();
    return load();
  });
}

const lazy: typeof lazyRouteComponent = (load, name) =>
  lazyRouteComponent(() => fetched(load), name);

/** Wraps a page with the props from its address. */
function page<Props extends object>(Page: AsyncRouteComponent<Props>, useAddress: () => Props) {
  const Bound = () => <Page {...useAddress()} />;
  return Object.assign(Bound, { preload: async () => void (await Page.preload?.()) });
}

routes.root.update({ component: App, notFoundComponent: PageNotFound });
routes.jobs.update({
  component: page(lazy(PAGES['/'], 'JobsPage'), () => ({
    query: parseQuery(parametersOf(routes.jobs.useSearch())),
  })),
});
routes.job.update({
  component: page(lazy(PAGES['/jobs/$id'], 'JobPage'), () => ({
    id: routes.job.useParams().id,
    tab: routes.job.useSearch().tab ?? null,
  })),
});
routes.compare.update({
  component: page(lazy(PAGES['/compare'], 'ComparePage'), () => {
    const { jobs = '' } = routes.compare.useSearch();
    return { ids: [...new Set(jobs.split(',').filter((id) => id !== ''))] };
  }),
});
routes.newJob.update({
  component: page(lazy(PAGES['/new'], 'NewJobPage'), () => {
    const { from = null, checkpoint = null, ...given } = routes.newJob.useSearch();
    return { from, checkpoint, file: given.training_file ?? null, model: given.model ?? null };
  }),
});
routes.find.update({
  component: lazy(PAGES['/find'], 'FindPage'),
});
routes.sweeps.update({
  component: lazy(PAGES['/sweeps'], 'SweepsPage'),
});
routes.sweep.update({
  component: page(lazy(PAGES['/sweeps/$id'], 'SweepPage'), () => ({
    id: routes.sweep.useParams().id,
  })),
});
routes.files.update({
  component: page(lazy(PAGES['/files'], 'FilesPage'), () => ({
    purpose: routes.files.useSearch().purpose ?? 'fine-tune',
  })),
});
routes.file.update({
  component: page(lazy(PAGES['/files/$id'], 'FilePage'), () => ({
    id: routes.file.useParams().id,
    after: Math.max(0, Math.trunc(Number(routes.file.useSearch().after))) || 0,
  })),
});
routes.models.update({
  component: lazy(PAGES['/models'], 'ModelsPage'),
});
routes.evals.update({
  component: lazy(PAGES['/evals'], 'EvalsPage'),
});
routes.evaluation.update({
  component: page(lazy(PAGES['/evals/$id'], 'EvalPage'), () => ({
    id: routes.evaluation.useParams().id,
  })),
});
routes.evalCompare.update({
  component: page(lazy(PAGES['/evals/$id/compare'], 'EvalComparePage'), () => {
    const { left = '', right = '' } = routes.evalCompare.useSearch();
    return { id: routes.evalCompare.useParams().id, left, right };
  }),
});
routes.evalRun.update({
  component: page(lazy(PAGES['/evals/$id/$run'], 'EvalRunPage'), () => {
    const { id: of, run: id } = routes.evalRun.useParams();
    const { status = null, after = null } = routes.evalRun.useSearch();
    return { of, id, status, after };
  }),
});
routes.chat.update({
  component: page(lazy(PAGES['/chat'], 'ChatPage'), () => {
    const { model = null, with: beside = null } = routes.chat.useSearch();
    return { model, beside };
  }),
});
routes.cluster.update({
  component: page(lazy(PAGES['/cluster'], 'ClusterPage'), () => ({
    isTimeline: routes.cluster.useSearch().view === 'timeline',
  })),
});
routes.usage.update({
  component: page(lazy(PAGES['/usage'], 'UsagePage'), () => {
    const { range, by } = routes.usage.useSearch();
    return {
      range: range ?? 'week',
      by: by === 'model' ? ('model' as const) : ('project_id' as const),
    };
  }),
});
routes.problems.update({
  component: lazy(PAGES['/problems'], 'ProblemsPage'),
});
for (const former of [routes.workers, routes.pools])
  former.update({ component: () => <Navigate to="/cluster" replace /> });
routes.pool.update({
  component: page(lazy(PAGES['/pools/$name'], 'PoolPage'), () => ({
    name: routes.pool.useParams().name,
  })),
});
routes.settings.update({
  component: page(lazy(PAGES['/settings'], 'SettingsPage'), () => ({
    id: null,
    parameters: parametersOf(routes.settings.useSearch()),
  })),
});
routes.ownProject.update({
  component: () => <Navigate to="/settings" search={routes.ownProject.useSearch()} replace />,
});
routes.webhooks.update({
  component: () => <Navigate to="/settings" search={{ tab: 'webhooks' }} replace />,
});
routes.keys.update({
  component: () => <Navigate to="/projects" search={{ tab: 'keys' }} replace />,
});
routes.projects.update({
  component: page(lazy(PAGES['/projects'], 'ProjectsPage'), () => ({
    parameters: parametersOf(routes.projects.useSearch()),
  })),
});
routes.project.update({
  component: page(lazy(PAGES['/projects/$id'], 'SettingsPage'), () => ({
    id: routes.project.useParams().id,
    parameters: parametersOf(routes.project.useSearch()),
  })),
});
if (__GALLERY__)
  routes.gallery.update({
    component: lazy(() => import('./gallery/gallery.js'), 'GalleryPage'),
  });
else routes.gallery.update({ component: PageNotFound });

export const router = createRouter({
  routeTree: routes.tree,
  parseSearch,
  stringifySearch,
  // Another job is another page, although the same component shows it.
  defaultRemountDeps: ({ params }) => params,
  defaultPreload: 'intent',
  defaultPendingComponent: () => (
    <main className="page">
      <Loading error={null} />
    </main>
  ),
  defaultErrorComponent: Broken,
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
