import { BookOpen, CircleUserRound, Keyboard, LogOut, Monitor, Moon, Sun } from 'lucide-react';
import { useContext } from 'react';
import { OwnKey } from '../api/own-key.js';
import { signOut } from '../api/session.js';
import { setTheme, useTheme, type Theme } from '../browser/theme.js';
import { currentUploads, isUnfinished } from '../files/uploads.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { ActionMenu, LINE, type Action } from '../ui/overlays/menu.js';
import { forgetKeys } from './saved-keys.js';

const THEME_ACTIONS: readonly (readonly [Theme, string, typeof Sun])[] = [
  ['system', 'Theme: system', Monitor],
  ['light', 'Theme: light', Sun],
  ['dark', 'Theme: dark', Moon],
];

/** Signs out. Asks first if uploads are in progress, because they would be canceled. */
function useSignOut(): () => void {
  const confirm = useConfirm();
  const leave = () => {
    forgetKeys();
    signOut();
  };
  return () => {
    const open = currentUploads().filter(isUnfinished).length;
    if (open === 0) return leave();
    const many = open === 1 ? 'One upload is' : `${open} uploads are`;
    confirm(`Sign out? ${many} under way and will be cancelled.`, 'Sign out', leave);
  };
}

interface AccountMenuProps {
  readonly isSmall: boolean;
  readonly openHelp: () => void;
}

/** Menu of the signed-in user: theme, help, and signing out. */
export function AccountMenu({ isSmall, openHelp }: AccountMenuProps) {
  const own = useContext(OwnKey);
  const leave = useSignOut();
  const theme = useTheme();
  const themes: Action[] = THEME_ACTIONS.map(([value, label, Icon]) => ({
    label: value === theme ? `${label} (current)` : label,
    icon: <Icon />,
    act: () => setTheme(value),
  }));
  return (
    <ActionMenu
      label={`Account and settings: ${own?.name ?? 'Account'}`}
      trigger={
        <button type="button" className="account quiet">
          <CircleUserRound aria-hidden="true" />
          {!isSmall && <span className="project-name">{own?.name ?? 'Account'}</span>}
        </button>
      }
      actions={[
        ...themes,
        LINE,
        { label: 'Keyboard shortcuts', icon: <Keyboard />, shortcut: '?', act: openHelp },
        {
          label: 'API documentation',
          icon: <BookOpen />,
          act: <a href="/docs" target="_blank" rel="noreferrer" />,
        },
        LINE,
        { label: 'Sign out', icon: <LogOut />, act: leave },
      ]}
    />
  );
}
