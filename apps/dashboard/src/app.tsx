import type { Scope } from '@graft/contracts';
import { useEffect, useRef, useState, type ReactNode } from 'react';
import { useKeys } from './keyboard.js';
import { go, linkTo, usePath } from './navigation.js';
import { ChatPage } from './pages/chat.js';
import { ComparePage } from './pages/compare.js';
import { EvalComparePage } from './pages/eval-compare.js';
import { EvalPage } from './pages/eval.js';
import { EvalRunPage } from './pages/eval-run.js';
import { EvalsPage } from './pages/evals.js';
import { FilePage } from './pages/file.js';
import { FilesPage } from './pages/files.js';
import { JobPage } from './pages/job.js';
import { parseQuery } from './pages/job-query.js';
import { JobsPage } from './pages/jobs.js';
import { KeysPage } from './pages/keys.js';
import { ModelsPage } from './pages/models.js';
import { NewJobPage } from './pages/new-job.js';
import { PoolPage } from './pages/pool.js';
import { PoolsPage } from './pages/pools.js';
import { ProjectPage } from './pages/project.js';
import { ProjectsPage } from './pages/projects.js';
import { SignInPage } from './pages/sign-in.js';
import { SweepPage } from './pages/sweep.js';
import { SweepsPage } from './pages/sweeps.js';
import { WebhooksPage } from './pages/webhooks.js';
import { WorkersPage } from './pages/workers.js';
import { lacking, OwnKey, useOwnKey } from './own-key.js';
import { RecordFormats, useRecordFormats } from './record-formats.js';
import { ContactBanner } from './components/contact-banner.js';
import { OfferedKey } from './components/offered-key.js';
import { ErrorBoundary } from './components/error-boundary.js';
import { NotAllowed } from './components/not-allowed.js';
import { Shortcuts } from './components/shortcuts.js';
import { signOut, useSession } from './session.js';

interface Tab {
  readonly to: string;
  readonly label: string;
  readonly key: string;
  /** What a key must have for the page to be of use. */
  readonly needs: readonly Scope[];
  /** Who finds the same elsewhere: it is left out of their tabs. */
  readonly unless?: Scope;
}

const TABS: readonly Tab[] = [
  { to: '/', label: 'Jobs', key: 'g', needs: ['jobs:read'] },
  { to: '/new', label: 'New job', key: 'n', needs: ['jobs:write', 'models:read', 'files:read'] },
  { to: '/files', label: 'Files', key: 'u', needs: ['files:read'] },
  { to: '/models', label: 'Models', key: 'm', needs: ['models:read'] },
  { to: '/evals', label: 'Evals', key: 'e', needs: ['jobs:read'] },
  { to: '/workers', label: 'Workers', key: 'w', needs: ['jobs:read'] },
  { to: '/pools', label: 'Pools', key: 'l', needs: ['jobs:read'] },
  { to: '/chat', label: 'Chat', key: 't', needs: ['models:read'] },
  { to: '/project', label: 'Project', key: 'o', needs: ['jobs:read'], unless: 'admin' },
  { to: '/projects', label: 'Projects', key: 'o', needs: ['admin'] },
  { to: '/webhooks', label: 'Webhooks', key: 'b', needs: ['project:admin'] },
  { to: '/keys', label: 'Keys', key: 'y', needs: ['admin'] },
];

/** The tab that a path belongs to; a job, and a sweep of them, is one of the jobs, a file one of the files. */
const tabOf = (pathname: string): Tab | undefined => {
  const list = pathname
    .replace(/^\/(jobs\/.*|compare$|sweeps(\/.*)?$)/, '/')
    .replace(/^\/(evals|files|pools|projects)\/.*/, '/$1');
  return TABS.find(({ to }) => to === list);
};

function page(path: string): ReactNode {
  const [pathname = '/', query = ''] = path.split('?');
  const job = /^\/jobs\/([^/]+)$/.exec(pathname)?.[1];
  const parameters = new URLSearchParams(query);
  if (job) return <JobPage key={job} id={decodeURIComponent(job)} tab={parameters.get('tab')} />;
  const file = /^\/files\/([^/]+)$/.exec(pathname)?.[1];
  const after = Math.max(0, Math.trunc(Number(parameters.get('after')))) || 0;
  if (file) return <FilePage key={file} id={decodeURIComponent(file)} after={after} />;
  if (pathname === '/') return <JobsPage query={parseQuery(parameters)} />;
  if (pathname === '/compare') return comparePage(parameters.get('jobs') ?? '');
  if (pathname === '/sweeps') return <SweepsPage />;
  const sweep = /^\/sweeps\/([^/]+)$/.exec(pathname)?.[1];
  if (sweep) return <SweepPage key={sweep} id={decodeURIComponent(sweep)} />;
  if (pathname === '/new')
    return <NewJobPage from={parameters.get('from')} file={parameters.get('training_file')} />;
  const purpose = parameters.get('purpose') ?? 'fine-tune';
  if (pathname === '/files') return <FilesPage key={purpose} purpose={purpose} />;
  if (pathname === '/models') return <ModelsPage />;
  if (pathname === '/evals') return <EvalsPage />;
  const [, of, run] = /^\/evals\/([^/]+)(?:\/([^/]+))?$/.exec(pathname) ?? [];
  if (of) return evalPage(decodeURIComponent(of), run, parameters);
  const pool = /^\/pools\/([^/]+)$/.exec(pathname)?.[1];
  if (pool) return <PoolPage key={pool} name={decodeURIComponent(pool)} />;
  const project = /^\/projects\/([^/]+)$/.exec(pathname)?.[1];
  if (project)
    return <ProjectPage key={project} id={decodeURIComponent(project)} parameters={parameters} />;
  if (pathname === '/project') return <ProjectPage key="own" id={null} parameters={parameters} />;
  if (pathname === '/projects') return <ProjectsPage parameters={parameters} />;
  if (pathname === '/pools') return <PoolsPage />;
  if (pathname === '/workers') return <WorkersPage />;
  if (pathname === '/webhooks') return <WebhooksPage />;
  if (pathname === '/keys') return <KeysPage />;
  if (pathname === '/chat') return <ChatPage model={parameters.get('model')} />;
  return (
    <main>
      <h1>Page not found</h1>
      <p>
        There is no page at <code>{pathname}</code>. <a {...linkTo('/')}>Go to jobs</a>
      </p>
    </main>
  );
}

function comparePage(jobs: string): ReactNode {
  const ids = [...new Set(jobs.split(',').filter((id) => id !== ''))];
  return <ComparePage key={ids.join()} ids={ids} />;
}

/** An eval, one of its runs, or two beside each other. */
function evalPage(id: string, run: string | undefined, parameters: URLSearchParams): ReactNode {
  if (run === undefined) return <EvalPage key={id} id={id} />;
  const [left, right] = [parameters.get('left') ?? '', parameters.get('right') ?? ''];
  if (run === 'compare')
    return <EvalComparePage key={`${left} ${right}`} id={id} left={left} right={right} />;
  return <EvalRunPage key={run} of={id} id={decodeURIComponent(run)} parameters={parameters} />;
}

/** Names the tab after the page, and moves the focus there from where it was chosen. */
function useArrival(pathname: string, session: string): void {
  const before = useRef(pathname);
  useEffect(() => {
    const name = tabOf(pathname)?.label;
    // a job, a sweep, an eval, a file, a pool and a project name their tabs themselves
    if (!/^\/(jobs|sweeps|evals|files|pools|projects)\//.test(pathname))
      document.title = name ? `${name} · Graft` : 'Graft';
    const content = document.getElementById('content');
    if (before.current !== pathname && !content?.contains(document.activeElement))
      content?.focus({ preventScroll: true });
    before.current = pathname;
  }, [pathname, session]);
}

export function App() {
  const path = usePath();
  const session = useSession();
  const key = useOwnKey(session);
  const formats = useRecordFormats(session);
  const [help, setHelp] = useState(false);
  // Until it is known what the key may do: one's own project or all of them, not both.
  const admin = key === null || key.scopes.includes('admin');
  const allowed = TABS.filter(
    ({ needs, unless }) => lacking(key, needs).length === 0 && !(unless === 'admin' && admin),
  );
  useKeys({
    ...Object.fromEntries(allowed.map((tab) => [tab.key, () => go(tab.to)])),
    '?': () => setHelp((open) => !open),
  });
  const pathname = path.split('?')[0] ?? '/';
  useArrival(pathname, session);
  const here = tabOf(pathname);
  const lacks = lacking(key, here?.needs ?? []);
  return (
    <OwnKey value={key}>
      {session === 'in' && (
        <a className="skip" href="#content">
          Skip to content
        </a>
      )}
      <ContactBanner />
      <OfferedKey />
      {session === 'in' ? (
        <>
          <Header tabs={allowed} here={here} openHelp={() => setHelp(true)} />
          <div id="content" tabIndex={-1}>
            <ErrorBoundary key={pathname}>
              {here && lacks.length > 0 ? (
                <NotAllowed page={here.label} lacks={lacks} />
              ) : (
                <RecordFormats value={formats}>{page(path)}</RecordFormats>
              )}
            </ErrorBoundary>
          </div>
        </>
      ) : (
        <SignInPage refused={session === 'refused'} />
      )}
      {help && (
        <Shortcuts
          pages={allowed.map((tab) => [tab.key, tab.label])}
          close={() => setHelp(false)}
        />
      )}
    </OwnKey>
  );
}

interface HeaderProps {
  readonly tabs: readonly Tab[];
  readonly here: Tab | undefined;
  readonly openHelp: () => void;
}

function Header({ tabs, here, openHelp }: HeaderProps) {
  return (
    <header>
      <a className="brand" {...linkTo('/')}>
        <img src="/favicon.svg" alt="" width="22" height="22" /> Graft
      </a>
      <nav aria-label="Pages">
        {tabs.map((tab) => (
          <a key={tab.to} {...linkTo(tab.to)} aria-current={tab === here ? 'page' : undefined}>
            {tab.label}
          </a>
        ))}
      </nav>
      <span className="grow" />
      <a className="quiet" href="/docs" target="_blank" rel="noreferrer">
        API
      </a>
      <button className="quiet" onClick={openHelp} aria-label="Keyboard shortcuts">
        ?
      </button>
      <button className="quiet" onClick={signOut}>
        Sign out
      </button>
    </header>
  );
}
