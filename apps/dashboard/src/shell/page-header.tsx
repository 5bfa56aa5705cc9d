import { Dialog } from '@base-ui/react/dialog';
import { useId, useRef, useState } from 'react';
import { useMedia } from '../browser/media-query.js';
import type { Group, Place } from './navigation.js';
import { signOut } from '../api/session.js';
import { currentUploads, isUnfinished } from '../files/uploads.js';
import { useConfirm } from '../ui/confirm.js';
import { Link } from '../ui/link.js';
import { Tip } from '../ui/tip.js';

interface Props {
  /** Navigation for the current key. */
  readonly groups: readonly Group[];
  readonly here: Place | undefined;
  readonly openHelp: () => void;
}

/**
 * Sidebar next to every page on a wide screen. On a narrow screen it is a bar with the navigation
 * behind a menu button.
 */
export function PageHeader(props: Props) {
  const isWide = useMedia('(min-width: 1280px)');
  return (
    <header className={isWide ? 'side' : 'top'}>
      <Link className="brand" to="/">
        <img src="/favicon.svg" alt="" width="22" height="22" /> Graft
      </Link>
      {isWide ? (
        <>
          <Places {...props} />
          <span className="grow" />
          <Rest {...props} />
        </>
      ) : (
        <>
          <b className="here">{props.here?.label}</b>
          <span className="grow" />
          <Drawer {...props} />
        </>
      )}
    </header>
  );
}

function Places({ groups, here }: Props) {
  const id = useId();
  return (
    <nav aria-label="Pages">
      {groups.map(({ label, places }) => (
        <div key={label} role="group" aria-labelledby={`${id}${label}`}>
          <span id={`${id}${label}`} className="group">
            {label}
          </span>
          {places.map((place) => (
            <Link
              key={place.to}
              to={place.to}
              aria-current={place === here ? 'page' : undefined}
              activeProps={{}}
            >
              {place.label}
            </Link>
          ))}
        </div>
      ))}
    </nav>
  );
}

/** Signs out. Asks first if uploads are in progress, because they would be canceled. */
function useSignOut(): () => void {
  const confirm = useConfirm();
  return () => {
    const open = currentUploads().filter(isUnfinished).length;
    if (open === 0) return signOut();
    const many = open === 1 ? 'One upload is' : `${open} uploads are`;
    confirm(`Sign out? ${many} under way and will be cancelled.`, 'Sign out', signOut);
  };
}

function Rest({ openHelp }: Pick<Props, 'openHelp'>) {
  const leave = useSignOut();
  return (
    <div className="rest">
      <a className="quiet" href="/docs" target="_blank" rel="noreferrer">
        API
      </a>
      <Tip text="Keyboard shortcuts">
        <button className="quiet" onClick={openHelp} aria-label="Keyboard shortcuts">
          ?
        </button>
      </Tip>
      <button className="quiet" onClick={leave}>
        Sign out
      </button>
    </div>
  );
}

function Drawer({ openHelp, ...props }: Props) {
  const [isOpen, setOpen] = useState(false);
  // After navigation the new page takes the focus. Otherwise it returns to the button.
  const went = useRef(false);
  const change = (open: boolean) => {
    went.current = false;
    setOpen(open);
  };
  return (
    <Dialog.Root open={isOpen} onOpenChange={change}>
      <Dialog.Trigger>Menu</Dialog.Trigger>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup
          className="drawer side"
          aria-label="Menu"
          finalFocus={() => !went.current}
          onClick={({ target }) => {
            const link = target instanceof Element ? target.closest('a') : null;
            if (!link) return;
            went.current = link.pathname !== location.pathname;
            setOpen(false);
          }}
        >
          <Dialog.Close className="quiet" aria-label="Close menu">
            ×
          </Dialog.Close>
          <Places {...props} openHelp={openHelp} />
          <Rest
            openHelp={() => {
              setOpen(false);
              openHelp();
            }}
          />
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
