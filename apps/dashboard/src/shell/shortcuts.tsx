import { setShortcuts, useShortcuts } from '../browser/keyboard.js';
import { Modal } from '../ui/overlays/modal.js';

const ROWS = [
  ['⌘K', 'Search and commands'],
  ['/', 'Search jobs'],
  ['j k', 'Next / previous job'],
  ['Enter', 'Open job'],
  ['Space', 'Peek at job'],
  ['x', 'Select job'],
  ['c', 'Cancel job (asks first)'],
  ['Shift P', 'Pause or resume job'],
  ['f', 'Follow log'],
] as const;

/**
 * Dialog that lists keyboard shortcuts and turns them on or off. Users of speech input must be able
 * to turn them off.
 */
export function Shortcuts({
  pages,
  close,
}: {
  pages: readonly (readonly [key: string, page: string])[];
  close: () => void;
}) {
  const on = useShortcuts();
  return (
    <Modal label="Keyboard shortcuts" close={close}>
      <h2>Keyboard shortcuts</h2>
      <label>
        <input type="checkbox" checked={on} onChange={(e) => setShortcuts(e.target.checked)} />{' '}
        enable single-key shortcuts
      </label>
      <dl className={on ? 'keys' : 'keys off'}>
        {[...pages, ...ROWS].map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <button onClick={close}>Close</button>
    </Modal>
  );
}
