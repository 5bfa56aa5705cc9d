import { useNavigate } from '@tanstack/react-router';
import { Bookmark, Columns3 } from 'lucide-react';
import { useState } from 'react';
import type { JobViews } from './job-views.js';
import { ALL_COLUMNS, columnTitle, USUAL_COLUMNS } from './job-columns.js';
import { Menu } from '../ui/overlays/menu.js';

/** Menu that selects the columns of the job table. */
export function ColumnMenu({ columns, setColumns }: Pick<JobViews, 'columns' | 'setColumns'>) {
  return (
    <Menu label="Columns" icon={<Columns3 />}>
      {ALL_COLUMNS.map((id) => (
        <label key={id}>
          <input
            type="checkbox"
            checked={columns.includes(id)}
            disabled={columns.length === 1 && columns.includes(id)}
            onChange={(e) =>
              setColumns(e.target.checked ? [...columns, id] : columns.filter((one) => one !== id))
            }
          />{' '}
          {columnTitle(id)}
        </label>
      ))}
      <button className="small" onClick={() => setColumns(USUAL_COLUMNS)}>
        Reset columns
      </button>
    </Menu>
  );
}

/** Menu of the views saved in this browser: filters, order and columns under a name. */
export function ViewMenu({ views, path }: { views: JobViews; path: string }) {
  const [name, setName] = useState('');
  const navigate = useNavigate();
  return (
    <Menu label="Views" icon={<Bookmark />}>
      {views.views.length === 0 && (
        <p className="faint">
          No saved views yet. A view stores filters, order and columns under a name, in this
          browser.
        </p>
      )}
      {views.views.map((view) => (
        <div className="bar" key={view.name}>
          <button
            className="quiet"
            onClick={() => {
              views.setColumns(view.columns);
              void navigate({ href: view.path });
            }}
          >
            {view.name}
          </button>
          <span className="grow" />
          <button
            className="small"
            aria-label={`Delete view ${view.name}`}
            onClick={() => views.drop(view.name)}
          >
            Delete
          </button>
        </div>
      ))}
      <form
        className="bar"
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim() === '') return;
          views.save(name.trim(), path);
          setName('');
        }}
      >
        <input
          aria-label="View name"
          placeholder="Name"
          maxLength={60}
          value={name}
          onChange={(e) => setName(e.target.value)}
        />
        <button disabled={name.trim() === ''}>Save view</button>
      </form>
    </Menu>
  );
}
