import type { ComparedItem, EvalRunObject } from '@graft/contracts';
import { compareRuns } from '@graft/contracts/compare-runs';
import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import {
  Answer,
  ItemFields,
  modelText,
  passedText,
  passShare,
  runName,
  VerdictPill,
} from '../evals/eval-results.js';
import { evalCrumbs } from '../evals/eval-crumb.js';
import { Button } from '../ui/controls/button.js';
import { Page, Section } from '../ui/page.js';
import { Stat, Stats } from '../ui/stat.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/feedback/loading.js';
import { Row, Table } from '../ui/table.js';
import { Tabs } from '../ui/tabs.js';
import { count } from '../format.js';
import { useLoaded } from '../api/loaded.js';

/** Number of items shown at first. */
const SHOWN = 100;

interface Props {
  readonly id: string;
  readonly left: string;
  readonly right: string;
}

/** Compares two runs of an eval: counts, and items with different results. */
export function EvalComparePage({ id, left, right }: Props) {
  const loaded = useLoaded(['eval-compare', id, left, right], async () => {
    const runs = await Promise.all([api.evalRun(id, left), api.evalRun(id, right)]);
    const items = await Promise.all([api.allOutputItems(id, left), api.allOutputItems(id, right)]);
    return { runs, compared: compareRuns(...items) } as const;
  });
  const { value } = loaded;
  useEffect(() => {
    if (value) document.title = `${value.runs.map(runName).join(' and ')} · Graft`;
  }, [value]);
  return (
    <Page title="Two runs compared" crumbs={evalCrumbs(id)} width="full">
      <Failure error={loaded.error} />
      {value === null ? (
        <Loading error={loaded.error} />
      ) : (
        <>
          <Stats label="Comparison">
            <Stat label="Items in both" value={count(value.compared.both)} />
            <Stat label="Pass on the left only" value={count(value.compared.leftOnlyPasses)} />
            <Stat label="Pass on the right only" value={count(value.compared.rightOnlyPasses)} />
          </Stats>
          <Totals runs={value.runs} />
          <Items items={value.compared.items} />
        </>
      )}
    </Page>
  );
}

type Two = readonly [EvalRunObject, EvalRunObject];

const SIDES = ['Left', 'Right'] as const;

function Totals({ runs }: { runs: Two }) {
  const [left, right] = runs;
  const passed = (run: EvalRunObject, name: string): number =>
    run.per_testing_criteria_results.find((one) => one.testing_criteria === name)?.passed ?? 0;
  return (
    <Table columns={['Of', ...SIDES]}>
      <Row>
        <td>run</td>
        {runs.map((run) => (
          <td key={run.id} className="break">
            <Link to="/evals/$id/$run" params={{ id: run.eval_id, run: run.id }}>
              {runName(run)}
            </Link>
          </td>
        ))}
      </Row>
      <Row>
        <td>model</td>
        {runs.map((run) => (
          <td key={run.id} className="break">
            {modelText(run)}
          </td>
        ))}
      </Row>
      <Row>
        <td>passed</td>
        {runs.map((run) => (
          <td key={run.id} className="numbers">
            {passedText(run)} ({passShare(run)})
          </td>
        ))}
      </Row>
      {left.per_testing_criteria_results.map(({ testing_criteria: name }) => (
        <Row key={name}>
          <td className="break">{name}</td>
          <td className="numbers">{count(passed(left, name))}</td>
          <td className="numbers">{count(passed(right, name))}</td>
        </Row>
      ))}
    </Table>
  );
}

const KINDS = ['differing', 'all'] as const;

const differ = ({ left, right }: ComparedItem): boolean => left?.status !== right?.status;

function Items({ items }: { items: readonly ComparedItem[] }) {
  const [kind, setKind] = useState<(typeof KINDS)[number]>('differing');
  const [most, setMost] = useState(SHOWN);
  const differing = items.filter(differ);
  const shown = kind === 'all' ? items : differing;
  return (
    <Section title="Items" label="Result">
      <Tabs
        label="Which items"
        names={KINDS}
        open={kind}
        choose={setKind}
        note={(name) => ` ${count(name === 'all' ? items.length : differing.length)}`}
      >
        {shown.length === 0 ? (
          <p className="faint">{kind === 'all' ? 'None yet.' : 'Both runs agree on every item.'}</p>
        ) : (
          <Table columns={['Item', ...SIDES]}>
            {shown.slice(0, most).map((one, n) => (
              <Row key={n} className="top">
                <td className="break">
                  <ItemFields item={one.item} />
                </td>
                <Side of={one.left} />
                <Side of={one.right} />
              </Row>
            ))}
          </Table>
        )}
        {shown.length > most && (
          <Button onClick={() => setMost(most + SHOWN)}>Show more of {count(shown.length)}</Button>
        )}
      </Tabs>
    </Section>
  );
}

/** Cell of one run. `Row` passes the name of its column. */
function Side({ of, ...cell }: { of: ComparedItem['left'] }) {
  return (
    <td {...cell} className="break">
      {of === null ? (
        <span className="faint">not graded</span>
      ) : (
        <>
          <VerdictPill status={of.status} />
          <Answer of={of} />
        </>
      )}
    </td>
  );
}
