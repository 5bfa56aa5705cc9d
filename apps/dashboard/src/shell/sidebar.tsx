import { Menu as MenuIcon, PanelLeft, Plus, Search } from 'lucide-react';
import { lazy, useId, useState } from 'react';
import { useMay } from '../api/own-key.js';
import { useMedia } from '../browser/media-query.js';
import { ButtonLink, IconButton } from '../ui/controls/button.js';
import { Link } from '../ui/link.js';
import { Unused } from '../ui/overlays/menu.js';
import { Tip } from '../ui/overlays/tip.js';
import { AccountMenu } from './account-menu.js';
import { ClusterChip } from './cluster-chip.js';
import { NEW_JOB, type Group, type Place } from './navigation.js';
import { ProblemCount } from './problem-count.js';
import { ProjectSwitcher } from './project-switcher.js';

const SLOT = 'graft.sidebar';

const loadNavigation = () => import('./phone-navigation.js');
const PhoneNavigation = lazy(async () => ({ default: (await loadNavigation()).PhoneNavigation }));

interface Props {
  /** Navigation for the current key. */
  readonly groups: readonly Group[];
  readonly here: Place | undefined;
  readonly openHelp: () => void;
  readonly openCommands: () => void;
}

/** Navigation next to every page; on a phone, a bar with the navigation behind a menu button. */
export function Sidebar(props: Props) {
  const isPhone = !useMedia('(min-width: 768px)');
  const isWide = useMedia('(min-width: 1100px)');
  const [isCollapsed, setCollapsed] = useState(() => localStorage.getItem(SLOT) === 'small');
  if (isPhone) return <TopBar {...props} />;
  const isSmall = !isWide || isCollapsed;
  const toggle = () => {
    localStorage.setItem(SLOT, isSmall ? 'wide' : 'small');
    setCollapsed(!isCollapsed);
  };
  return (
    <header className={isSmall ? 'side small' : 'side'}>
      <div className="side-head">
        <Brand isSmall={isSmall} />
        {isWide && (
          <IconButton
            label={isSmall ? 'Expand navigation' : 'Collapse navigation'}
            icon={<PanelLeft />}
            size="s"
            onClick={toggle}
          />
        )}
      </div>
      <Contents {...props} isSmall={isSmall} />
    </header>
  );
}

const Brand = ({ isSmall }: { isSmall: boolean }) => (
  <Link className="brand" to="/" aria-label="Graft: jobs">
    <img src="/favicon.svg" alt="" width="22" height="22" />
    {!isSmall && <span>Graft</span>}
  </Link>
);

function Contents({ groups, here, openHelp, openCommands, isSmall }: Props & { isSmall: boolean }) {
  return (
    <>
      <ProjectSwitcher isSmall={isSmall} />
      <Starters isSmall={isSmall} openCommands={openCommands} />
      <Places groups={groups} here={here} isSmall={isSmall} />
      <span className="grow" />
      <ClusterChip isSmall={isSmall} />
      <AccountMenu isSmall={isSmall} openHelp={openHelp} />
    </>
  );
}

/** "New job" and the command menu. */
function Starters({ isSmall, openCommands }: { isSmall: boolean; openCommands: () => void }) {
  const may = useMay();
  return (
    <div className="starters">
      {may(...NEW_JOB.needs) &&
        (isSmall ? (
          <Tip text="New job">
            <ButtonLink to="/new" className="icon new-job-button" aria-label="New job">
              <Plus />
            </ButtonLink>
          </Tip>
        ) : (
          <ButtonLink to="/new" className="new-job-button" icon={<Plus />}>
            New job
          </ButtonLink>
        ))}
      {isSmall ? (
        <IconButton label="Search and commands" icon={<Search />} onClick={openCommands} />
      ) : (
        <button type="button" className="search-button" onClick={openCommands}>
          <Search aria-hidden="true" /> Search… <kbd>⌘K</kbd>
        </button>
      )}
    </div>
  );
}

function Places({ groups, here, isSmall }: Pick<Props, 'groups' | 'here'> & { isSmall: boolean }) {
  const id = useId();
  return (
    <nav aria-label="Pages">
      {groups.map(({ label, places }) => (
        <div key={label} role="group" aria-labelledby={`${id}${label}`}>
          <span id={`${id}${label}`} className={isSmall ? 'unseen' : 'group'}>
            {label}
          </span>
          {places.map((place) => {
            const link = (
              <Link
                key={place.to}
                to={place.to}
                aria-current={place === here ? 'page' : undefined}
                activeProps={{}}
              >
                <place.icon aria-hidden="true" />
                <span className={isSmall ? 'unseen' : undefined}>{place.label}</span>
                {place.hasCount && <ProblemCount />}
              </Link>
            );
            return isSmall ? (
              <Tip key={place.to} text={place.label}>
                {link}
              </Tip>
            ) : (
              link
            );
          })}
        </div>
      ))}
    </nav>
  );
}

function TopBar(props: Props) {
  const menu = (
    <button type="button" className="quiet icon" aria-label="Menu">
      <MenuIcon />
    </button>
  );
  return (
    <header className="top">
      <Brand isSmall={false} />
      <span className="grow" />
      <IconButton label="Search and commands" icon={<Search />} onClick={props.openCommands} />
      <Unused trigger={menu} popup="dialog" load={loadNavigation}>
        <PhoneNavigation trigger={menu}>
          {(close) => (
            <Contents
              {...props}
              isSmall={false}
              openHelp={() => {
                close();
                props.openHelp();
              }}
              openCommands={() => {
                close();
                props.openCommands();
              }}
            />
          )}
        </PhoneNavigation>
      </Unused>
    </header>
  );
}
