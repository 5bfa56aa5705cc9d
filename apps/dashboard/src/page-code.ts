// Code of the pages by the path of their route. Each is a file of its own, which is loaded when it is first needed.

export const PAGES = {
  '/': () => import('./pages/jobs.js'),
  '/jobs/$id': () => import('./pages/job.js'),
  '/compare': () => import('./pages/compare.js'),
  '/new': () => import('./pages/new-job.js'),
  '/find': () => import('./pages/find.js'),
  '/sweeps': () => import('./pages/sweeps.js'),
  '/sweeps/$id': () => import('./pages/sweep.js'),
  '/files': () => import('./pages/files.js'),
  '/files/$id': () => import('./pages/file.js'),
  '/models': () => import('./pages/models.js'),
  '/evals': () => import('./pages/evals.js'),
  '/evals/$id': () => import('./pages/eval.js'),
  '/evals/$id/compare': () => import('./pages/eval-compare.js'),
  '/evals/$id/$run': () => import('./pages/eval-run.js'),
  '/chat': () => import('./pages/chat.js'),
  '/cluster': () => import('./pages/cluster.js'),
  '/usage': () => import('./pages/usage.js'),
  '/problems': () => import('./pages/problems.js'),
  '/pools/$name': () => import('./pages/pool.js'),
  '/settings': () => import('./pages/settings.js'),
  '/projects': () => import('./pages/projects.js'),
  '/projects/$id': () => import('./pages/settings.js'),
};

/** Returns the path of the first route that matches an address; undefined if none does. */
const routeOf = (address: string): keyof typeof PAGES | undefined =>
  (Object.keys(PAGES) as (keyof typeof PAGES)[]).find((path) =>
    new RegExp(`^${path.replaceAll(/\$\w+/g, '[^/]+')}/?$`).test(address),
  );

/** Requests the code of the page at an address. The router requests it again if that fails. */
export function preloadPage(address: string): void {
  const path = routeOf(address);
  if (path) PAGES[path]().catch(() => undefined);
}
