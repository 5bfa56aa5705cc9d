import { useState } from 'react';
import { useMedia } from '../browser/media-query.js';
import { Section } from '../ui/page.js';
import { Row, Table } from '../ui/table.js';
import { nameOf, RunName, type Compared } from './compare-results.js';
import { differencesOf } from './differences.js';

interface Props {
  readonly all: readonly Compared[];
  /** Names of the options that a request may set under `graft`. */
  readonly options: readonly string[];
}

/** Settings in which the jobs differ: a column per job, and on phones a card per job. */
export function CompareSettings({ all, options }: Props) {
  const [isWhole, setWhole] = useState(false);
  const isNarrow = useMedia('(max-width: 767px)');
  const jobs = all.map(({ job }) => job);
  const settings = differencesOf(jobs, options, isWhole);
  return (
    <Section
      title="What differs"
      actions={
        <label>
          <input type="checkbox" checked={isWhole} onChange={(e) => setWhole(e.target.checked)} />{' '}
          show identical settings
        </label>
      }
    >
      {settings.length === 0 ? (
        <p className="faint">All settings are identical.</p>
      ) : isNarrow ? (
        <Table columns={['Job', ...settings.map(({ label, path }) => path ?? label)]}>
          {all.map((one, n) => (
            <Row key={one.job.id}>
              {[
                <td key="job">
                  <RunName one={one} n={n} />
                </td>,
                ...settings.map(({ path, label, values }) => (
                  <td key={path ?? label} className="break">
                    {values[n] ?? '–'}
                  </td>
                )),
              ]}
            </Row>
          ))}
        </Table>
      ) : (
        <Table columns={['Setting', ...all.map(nameOf)]}>
          {settings.map(({ label, path, values }) => (
            <Row key={path ?? label}>
              {[
                <td key="setting" title={path ?? undefined}>
                  {label}
                </td>,
                ...values.map((value, n) => (
                  <td key={n} className="break">
                    {value ?? <span className="faint">–</span>}
                  </td>
                )),
              ]}
            </Row>
          ))}
        </Table>
      )}
    </Section>
  );
}
