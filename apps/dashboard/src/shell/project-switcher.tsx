import { Check, ChevronsUpDown, FolderKanban, KeyRound } from 'lucide-react';
import { useContext, useEffect, useState, type FormEvent } from 'react';
import { OwnKey, useMay } from '../api/own-key.js';
import { apiKey, signIn } from '../api/session.js';
import { Button } from '../ui/controls/button.js';
import { Link } from '../ui/link.js';
import { ActionMenu, LINE } from '../ui/overlays/menu.js';
import { Modal } from '../ui/overlays/modal.js';
import { rememberKey, savedKeys } from './saved-keys.js';

/**
 * Name of the project that the key in use belongs to. Its menu switches to the other keys of this
 * session, because each key belongs to one project.
 */
export function ProjectSwitcher({ isSmall }: { isSmall: boolean }) {
  const own = useContext(OwnKey);
  const may = useMay();
  const [isAdding, setAdding] = useState(false);
  useEffect(() => {
    if (own) rememberKey(own);
  }, [own]);
  const name = own?.project.name ?? '…';
  const others = savedKeys().filter(({ key }) => key !== apiKey());
  return (
    <>
      <ActionMenu
        label={`Project ${name}`}
        trigger={
          <button type="button" className="project-switcher quiet">
            <span className="project-mark" data-mark={name.slice(0, 1).toUpperCase()} />
            {!isSmall && (
              <>
                <span className="project-name">{name}</span>
                <ChevronsUpDown aria-hidden="true" />
              </>
            )}
          </button>
        }
        actions={[
          { label: name, icon: <Check />, act: () => undefined },
          ...others.map(({ key, project }) => ({
            label: project,
            icon: <span className="icon-space" />,
            act: () => signIn(key),
          })),
          LINE,
          ...(may('admin')
            ? [{ label: 'All projects', icon: <FolderKanban />, act: <Link to="/projects" /> }]
            : [
                { label: 'Project settings', icon: <FolderKanban />, act: <Link to="/settings" /> },
              ]),
          { label: 'Use another API key…', icon: <KeyRound />, act: () => setAdding(true) },
        ]}
      />
      {isAdding && <AnotherKey close={() => setAdding(false)} />}
    </>
  );
}

function AnotherKey({ close }: { close: () => void }) {
  const [key, setKey] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn(key);
    close();
  };
  return (
    <Modal label="Use another API key" close={close}>
      <h2>Use another API key</h2>
      <p>A key belongs to one project. You can switch back until you close the last Graft tab.</p>
      <form onSubmit={submit}>
        <label htmlFor="another-key">API key</label>
        <div className="bar">
          <input
            id="another-key"
            className="wide"
            type="password"
            autoComplete="off"
            required
            value={key}
            onChange={(event) => setKey(event.target.value)}
          />
          <Button type="submit" variant="primary">
            Switch
          </Button>
        </div>
      </form>
    </Modal>
  );
}
