import { Outlet, useMatches, useNavigate } from '@tanstack/react-router';
import { lazy, Suspense, useEffect, useRef, useState } from 'react';
import { Above } from '../ui/overlays/above.js';
import { ContactBanner } from './contact-banner.js';
import { NotAllowed } from './not-allowed.js';
import { OfferedKey } from './offered-key.js';
import { Sidebar } from './sidebar.js';
import { Shortcuts } from './shortcuts.js';
import { UploadTray } from '../files/upload-tray.js';
import { useKeys } from '../browser/keyboard.js';
import { GROUPS, NEW_JOB, PLACES, type Place } from './navigation.js';
import { missingScopes, OwnKey, useOwnKey } from '../api/own-key.js';
import { SignInPage } from './sign-in.js';
import { useSession } from '../api/session.js';

const CommandMenu = lazy(async () => ({
  default: (await import('./command-menu.js')).CommandMenu,
}));

/** Sets the tab's title and moves the focus to the page after navigation. */
function useArrival(here: Place | undefined, session: string): void {
  const { pathname, isTitled } = useMatches({
    select: (matches) => ({
      pathname: matches.at(-1)?.pathname,
      isTitled: matches.at(-1)?.staticData.isTitled === true,
    }),
    structuralSharing: true,
  });
  const before = useRef(pathname);
  useEffect(() => {
    if (!isTitled) document.title = here ? `${here.label} · Graft` : 'Graft';
    const content = document.getElementById('content');
    const focused = document.activeElement;
    // A dialog that was opened meanwhile keeps the focus.
    const isKept = content?.contains(focused) || focused?.closest('[role=dialog]');
    if (before.current !== pathname && !isKept) content?.focus({ preventScroll: true });
    before.current = pathname;
  }, [pathname, isTitled, here, session]);
}

/** Returns the navigation item of the current page. */
function useHere(): Place | undefined {
  const place = useMatches({ select: (matches) => matches.at(-1)?.staticData.place });
  return PLACES.find(({ label }) => label === place);
}

/** State of the command menu, which ⌘K or Ctrl-K opens and closes. */
function useCommandMenu(isIn: boolean) {
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (!isIn || event.key.toLowerCase() !== 'k' || !(event.metaKey || event.ctrlKey)) return;
      event.preventDefault();
      setOpen((open) => !open);
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, [isIn]);
  return { isOpen: isOpen && isIn, open: () => setOpen(true), close: () => setOpen(false) };
}

export function App() {
  const navigate = useNavigate();
  const session = useSession();
  const key = useOwnKey(session === 'in');
  const [help, setHelp] = useState(false);
  const commands = useCommandMenu(session === 'in');
  const isAllowed = ({ needs }: Place) => missingScopes(key, needs).length === 0;
  const groups = GROUPS.map(({ label, places }) => ({
    label,
    places: places.filter(isAllowed),
  })).filter(({ places }) => places.length > 0);
  const allowed = [NEW_JOB].filter(isAllowed).concat(groups.flatMap(({ places }) => places));
  useKeys({
    ...Object.fromEntries(allowed.map(({ key, to }) => [key, () => void navigate({ to })])),
    '?': () => setHelp((open) => !open),
  });
  const here = useHere();
  useArrival(here, session);
  const missing = missingScopes(key, here?.needs ?? []);
  return (
    <Above>
      <OwnKey value={key}>
        {session === 'in' && (
          <a className="skip" href="#content">
            Skip to content
          </a>
        )}
        <ContactBanner />
        <OfferedKey />
        {session === 'in' ? (
          <div className="shell">
            <Sidebar
              groups={groups}
              here={here}
              openHelp={() => setHelp(true)}
              openCommands={commands.open}
            />
            <div id="content" tabIndex={-1}>
              {here && missing.length > 0 ? (
                <NotAllowed page={here.label} missing={missing} />
              ) : (
                <Outlet />
              )}
            </div>
            <UploadTray />
          </div>
        ) : (
          <SignInPage refused={session === 'refused'} />
        )}
        {commands.isOpen && (
          <Suspense>
            <CommandMenu places={allowed} close={commands.close} />
          </Suspense>
        )}
        {help && (
          <Shortcuts
            pages={allowed.map(({ key, label }) => [key, label])}
            close={() => setHelp(false)}
          />
        )}
      </OwnKey>
    </Above>
  );
}
