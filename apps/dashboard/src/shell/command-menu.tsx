import { Autocomplete } from '@base-ui/react/autocomplete';
import { Dialog } from '@base-ui/react/dialog';
import { useNavigate } from '@tanstack/react-router';
import { Box, Database, Moon, Rows3, Search, Split, Sun, type LucideIcon } from 'lucide-react';
import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay, useMayRequest } from '../api/own-key.js';
import { setTheme, useDark } from '../browser/theme.js';
import { modelTitle } from '../format.js';
import { jobName } from '../job/job-text.js';
import type { Place } from './navigation.js';

/** Milliseconds without typing after which jobs are searched. */
const PAUSE_MS = 150;
/** Number of jobs, and of each other kind, that are offered. */
const MOST = 8;

interface Command {
  readonly id: string;
  readonly label: string;
  /** Further words that find it, and its second line. */
  readonly hint: string;
  readonly icon: LucideIcon;
  readonly run: () => unknown;
}

interface CommandGroup {
  readonly value: string;
  readonly items: readonly Command[];
}

interface CommandMenuProps {
  /** Pages that the key may open. */
  readonly places: readonly Place[];
  readonly close: () => void;
}

/** Search for pages, jobs, models, files and commands (⌘K). */
export function CommandMenu({ places, close }: CommandMenuProps) {
  const [query, setQuery] = useState('');
  const groups = useCommands(places, query);
  return (
    <Dialog.Root open onOpenChange={(open) => open || close()}>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className="card dialog command" aria-label="Search and commands">
          <Autocomplete.Root
            open
            inline
            items={groups}
            value={query}
            onValueChange={setQuery}
            itemToStringValue={({ label }: Command) => label}
            filter={null}
            autoHighlight="always"
            keepHighlight
          >
            <div className="command-input">
              <Search aria-hidden="true" />
              <Autocomplete.Input
                autoFocus
                aria-label="Search"
                placeholder="Search jobs, models, files and pages…"
              />
              <kbd>Esc</kbd>
            </div>
            <Autocomplete.Empty className="command-empty">No matches</Autocomplete.Empty>
            <Autocomplete.List className="command-list">
              {(group: CommandGroup) => (
                <Autocomplete.Group key={group.value} items={group.items}>
                  <Autocomplete.GroupLabel className="menu-label">
                    {group.value}
                  </Autocomplete.GroupLabel>
                  <Autocomplete.Collection>
                    {(command: Command) => (
                      <Autocomplete.Item
                        key={command.id}
                        value={command}
                        className="menu-item"
                        onClick={() => {
                          close();
                          void command.run();
                        }}
                      >
                        <command.icon aria-hidden="true" />
                        <span className="command-label">{command.label}</span>
                        <small>{command.hint}</small>
                      </Autocomplete.Item>
                    )}
                  </Autocomplete.Collection>
                </Autocomplete.Group>
              )}
            </Autocomplete.List>
          </Autocomplete.Root>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

/** Whether every typed word occurs in a command. */
function isMatch({ label, hint, id }: Command, typed: string): boolean {
  const all = `${label} ${hint} ${id}`.toLowerCase();
  return typed
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

function useCommands(places: readonly Place[], query: string): readonly CommandGroup[] {
  const navigate = useNavigate();
  const isDark = useDark();
  const jobs = useJobs(query);
  const things = useThings();
  const pages = places.map(({ to, label, icon, key }): Command => ({
    id: `page ${to}`,
    label,
    hint: key,
    icon,
    run: () => navigate({ to }),
  }));
  const theme: Command = {
    id: 'theme',
    label: isDark ? 'Use the light theme' : 'Use the dark theme',
    hint: 'appearance',
    icon: isDark ? Sun : Moon,
    run: () => setTheme(isDark ? 'light' : 'dark'),
  };
  const groups = [
    { value: 'Pages', items: [...pages, theme].filter((page) => isMatch(page, query)) },
    {
      value: 'Jobs',
      items: jobs,
    },
    ...things(query),
  ];
  return groups.filter(({ items }) => items.length > 0);
}

/** Jobs that the server finds for a query, newest first. */
function useJobs(query: string): readonly Command[] {
  const navigate = useNavigate();
  const [settled, setSettled] = useState(query);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(query), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [query]);
  const may = useMayRequest()('jobs:read');
  const found = useLoaded(
    ['command-jobs', settled, may],
    async () => {
      const parameters = new URLSearchParams(settled ? { q: settled } : {});
      const { data } = may ? await api.jobs(parameters, undefined, MOST) : { data: [] };
      return { query: settled, jobs: data };
    },
    0,
    true,
  );
  const { jobs = [], query: answered } = found.value ?? {};
  const commands = jobs.map((job): Command => ({
    id: job.id,
    label: jobName(job),
    hint: job.status,
    icon: Rows3,
    run: () => navigate({ to: '/jobs/$id', params: { id: job.id } }),
  }));
  // The server also finds jobs by words that the label lacks. Until it answers, earlier jobs are filtered here.
  return answered === query ? commands : commands.filter((command) => isMatch(command, query));
}

/** Models, files and sweeps, as commands that open them. */
function useThings(): (query: string) => readonly CommandGroup[] {
  const navigate = useNavigate();
  const may = useMay();
  const loaded = useLoaded(['command-things'], async () => {
    const [models, files, sweeps] = await Promise.all([
      may('models:read') ? api.models().then(({ data }) => data) : [],
      may('files:read') ? api.files('fine-tune').then(({ data }) => data) : [],
      may('jobs:read') ? api.sweeps().then(({ data }) => data) : [],
    ]);
    return { models, files, sweeps };
  });
  const { models = [], files = [], sweeps = [] } = loaded.value ?? {};
  const groups: CommandGroup[] = [
    {
      value: 'Models',
      items: models.map(({ id }) => ({
        id,
        label: modelTitle(id),
        hint: 'try it',
        icon: Box,
        run: () => navigate({ to: '/chat', search: { model: id } }),
      })),
    },
    {
      value: 'Files',
      items: files.map(({ id, filename }) => ({
        id,
        label: filename,
        hint: '',
        icon: Database,
        run: () => navigate({ to: '/files/$id', params: { id } }),
      })),
    },
    {
      value: 'Sweeps',
      items: sweeps.map(({ id, suffix, model }) => ({
        id,
        label: suffix ?? id,
        hint: model,
        icon: Split,
        run: () => navigate({ to: '/sweeps/$id', params: { id } }),
      })),
    },
  ];
  // Without a query, only a few of each are useful.
  return (query) =>
    groups.map(({ value, items }) => ({
      value,
      items: items.filter((item) => isMatch(item, query)).slice(0, query ? MOST : 3),
    }));
}
