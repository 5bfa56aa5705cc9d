import type { Scope } from '@graft/contracts';
import { useEffect, useRef, useState, type ReactNode } from 'react';
import { useKeys } from './keyboard.js';
import { go, linkTo, usePath } from './navigation.js';
import { ChatPage } from './pages/chat.js';
import { FilePage } from './pages/file.js';
import { FilesPage } from './pages/files.js';
import { JobPage } from './pages/job.js';
import { JobsPage } from './pages/jobs.js';
import { KeysPage } from './pages/keys.js';
import { ModelsPage } from './pages/models.js';
import { NewJobPage } from './pages/new-job.js';
import { SignInPage } from './pages/sign-in.js';
import { WorkersPage } from './pages/workers.js';
import { lacking, OwnKey, useOwnKey } from './own-key.js';
import { ContactBanner } from './parts/contact-banner.js';
import { ErrorBoundary } from './parts/error-boundary.js';
import { NotAllowed } from './parts/not-allowed.js';
import { Shortcuts } from './parts/shortcuts.js';
import { signOut, useSession } from './session.js';

interface Tab {
  readonly to: string;
  readonly label: string;
  readonly key: string;
  /** What a key must have for the page to be of use. */
  readonly needs: readonly Scope[];
}

const TABS: readonly Tab[] = [
  { to: '/', label: 'Jobs', key: 'g', needs: ['jobs:read'] },
  { to: '/new', label: 'New job', key: 'n', needs: ['jobs:write', 'models:read', 'files:read'] },
  { to: '/files', label: 'Files', key: 'u', needs: ['files:read'] },
  { to: '/models', label: 'Models', key: 'm', needs: ['models:read'] },
  { to: '/workers', label: 'Workers', key: 'w', needs: ['jobs:read'] },
  { to: '/chat', label: 'Chat', key: 't', needs: ['models:read'] },
  { to: '/keys', label: 'Keys', key: 'y', needs: ['admin'] },
];

/** The tab that a path belongs to; a job is one of the jobs, a file one of the files. */
const tabOf = (pathname: string): Tab | undefined => {
  const list = pathname.replace(/^\/jobs\/.*/, '/').replace(/^\/files\/.*/, '/files');
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
  if (pathname === '/') return <JobsPage filter={parameters.get('q') ?? ''} />;
  if (pathname === '/new')
    return <NewJobPage from={parameters.get('from')} file={parameters.get('training_file')} />;
  const purpose = parameters.get('purpose') ?? 'fine-tune';
  if (pathname === '/files') return <FilesPage key={purpose} purpose={purpose} />;
  if (pathname === '/models') return <ModelsPage />;
  if (pathname === '/workers') return <WorkersPage />;
  if (pathname === '/keys') return <KeysPage />;
  if (pathname === '/chat') return <ChatPage model={parameters.get('model')} />;
  return (
    <main>
      <h1>No such page</h1>
      <p>
        Nothing lives at <code>{pathname}</code>. <a {...linkTo('/')}>See the jobs</a>.
      </p>
    </main>
  );
}

/** Names the tab after the page, and moves the focus there from where it was chosen. */
function useArrival(pathname: string, session: string): void {
  const before = useRef(pathname);
  useEffect(() => {
    const name = tabOf(pathname)?.label;
    // a job and a file name their tabs themselves
    if (!/^\/(jobs|files)\//.test(pathname)) document.title = name ? `${name} · Graft` : 'Graft';
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
  const [help, setHelp] = useState(false);
  const allowed = TABS.filter(({ needs }) => lacking(key, needs).length === 0);
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
          Skip to the content
        </a>
      )}
      <ContactBanner />
      {session === 'in' ? (
        <>
          <Header tabs={allowed} here={here} openHelp={() => setHelp(true)} />
          <div id="content" tabIndex={-1}>
            <ErrorBoundary key={pathname}>
              {here && lacks.length > 0 ? (
                <NotAllowed page={here.label} lacks={lacks} />
              ) : (
                page(path)
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
