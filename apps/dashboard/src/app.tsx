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
import { ErrorBoundary } from './parts/error-boundary.js';
import { signOut, useSession } from './session.js';

const TABS = [
  ['/', 'Jobs', 'g'],
  ['/new', 'New job', 'n'],
  ['/files', 'Files', 'u'],
  ['/models', 'Models', 'm'],
  ['/workers', 'Workers', 'w'],
  ['/chat', 'Chat', 't'],
  ['/keys', 'Keys', 'y'],
] as const;

function page(path: string): ReactNode {
  const [pathname = '/', query = ''] = path.split('?');
  const job = /^\/jobs\/([^/]+)$/.exec(pathname)?.[1];
  const parameters = new URLSearchParams(query);
  if (job) return <JobPage key={job} id={decodeURIComponent(job)} tab={parameters.get('tab')} />;
  const file = /^\/files\/([^/]+)$/.exec(pathname)?.[1];
  const after = Math.max(0, Math.trunc(Number(parameters.get('after')))) || 0;
  if (file) return <FilePage key={file} id={decodeURIComponent(file)} after={after} />;
  if (pathname === '/') return <JobsPage filter={parameters.get('q') ?? ''} />;
  if (pathname === '/new') return <NewJobPage from={parameters.get('from')} />;
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
    const name = TABS.find(([to]) => to === pathname)?.[1];
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
  const [help, setHelp] = useState(false);
  useKeys({
    ...Object.fromEntries(TABS.map(([to, , key]) => [key, () => go(to)])),
    '?': () => setHelp((open) => !open),
  });
  const pathname = path.split('?')[0] ?? '/';
  useArrival(pathname, session);
  if (session !== 'in') return <SignInPage refused={session === 'refused'} />;
  return (
    <>
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <header>
        <a className="brand" {...linkTo('/')}>
          <img src="/favicon.svg" alt="" width="22" height="22" /> Graft
        </a>
        <nav aria-label="Pages">
          {TABS.map(([to, label]) => (
            <a
              key={to}
              {...linkTo(to)}
              aria-current={
                pathname === to ||
                (to === '/' && pathname.startsWith('/jobs/')) ||
                (to === '/files' && pathname.startsWith('/files/'))
                  ? 'page'
                  : undefined
              }
            >
              {label}
            </a>
          ))}
        </nav>
        <span className="grow" />
        <a href="/docs" target="_blank" rel="noreferrer">
          API
        </a>
        <button className="quiet" onClick={() => setHelp(true)} aria-label="Keyboard shortcuts">
          ?
        </button>
        <button className="quiet" onClick={signOut}>
          Sign out
        </button>
      </header>
      <div id="content" tabIndex={-1}>
        <ErrorBoundary key={pathname}>{page(path)}</ErrorBoundary>
      </div>
      {help && <Shortcuts close={() => setHelp(false)} />}
    </>
  );
}

function Shortcuts({ close }: { close: () => void }) {
  const rows = [
    ...TABS.map(([, label, key]) => [key, label]),
    ['/', 'Search the jobs'],
    ['j k', 'Next, previous job'],
    ['Enter', 'Open the job'],
    ['c', 'Cancel the job (asks first)'],
    ['p', 'Pause the job, or resume it'],
    ['f', 'Follow the log'],
  ];
  // a modal dialog of the browser's keeps the focus inside, and gives it back when it closes by itself
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = box.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={box}
      aria-label="Keyboard shortcuts"
      className="card"
      onClose={close}
      onClick={(e) => e.target === box.current && close()}
    >
      <h2>Keyboard</h2>
      <dl className="keys">
        {rows.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <button onClick={close}>Close</button>
    </dialog>
  );
}
