// Every component of the design system in its states. `/gallery` shows it in development builds;
// test/e2e/dashboard-gallery.spec.ts compares screenshots of it in both themes.
import { Download, Inbox, Plus, Trash2 } from 'lucide-react';
import { useState, type ReactNode } from 'react';
import { Chart } from '../charts/chart.js';
import { Sparkline } from '../charts/sparkline.js';
import { Callout } from '../ui/feedback/callout.js';
import { CodeBlock } from '../ui/code-block.js';
import { Button, IconButton } from '../ui/controls/button.js';
import { Combobox } from '../ui/controls/combobox.js';
import { Field } from '../ui/controls/field.js';
import { NumberField } from '../ui/controls/number-field.js';
import { RadioCards } from '../ui/controls/radio-cards.js';
import { Segmented } from '../ui/controls/segmented.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { ActionMenu, LINE } from '../ui/overlays/menu.js';
import { Page, Section } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { Stat, Stats } from '../ui/stat.js';
import { StateDot, StatePill } from '../ui/state-pill.js';
import { Row, Table } from '../ui/table.js';

const STEPS = Array.from({ length: 60 }, (_, n) => n + 1);
const loss = STEPS.map((n) => 0.4 + 2.2 * Math.exp(-n / 18) + 0.12 * Math.sin(n * 1.7));
const validation = STEPS.map((n) => (n % 10 === 0 ? 0.55 + 2 * Math.exp(-n / 20) : null));
const STATES = ['queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled'] as const;
const NOTHING = () => undefined;

/** One example with its name, which the test uses for its screenshot. */
const Example = ({ name, children }: { name: string; children: ReactNode }) => (
  <div data-example={name}>{children}</div>
);

export function GalleryPage() {
  return (
    <Page title="Gallery" subtitle="Components of the design system, in their states">
      <Section title="Actions">
        <Example name="buttons">
          <Buttons />
        </Example>
      </Section>
      <Section title="Fields">
        <Example name="fields">
          <Fields />
        </Example>
      </Section>
      <Section title="Choices">
        <Example name="choices">
          <Choices />
        </Example>
      </Section>
      <Section title="States">
        <Example name="states">
          <div className="bar">
            {STATES.map((status) => (
              <StatePill key={status} status={status} />
            ))}
          </div>
          <div className="bar">
            {STATES.map((status) => (
              <StateDot key={status} status={status} />
            ))}
          </div>
        </Example>
      </Section>
      <Section title="Messages">
        <Example name="messages">
          <Messages />
        </Example>
      </Section>
      <Section title="Numbers">
        <Example name="numbers">
          <Stats label="Result">
            <Stat label="Accuracy" value="96.7 %" note="chance 16.7 %" />
            <Stat label="Validation loss" value="0.1224" note="best at step 120" />
            <Stat label="Macro F1" value="95.9 %" />
            <Stat label="Training loss" value="NaN" note="diverged at step 3" tone="bad" />
          </Stats>
        </Example>
      </Section>
      <Section title="Table">
        <Example name="table">
          <Runs />
        </Example>
      </Section>
      <Section title="Chart">
        <Example name="chart">
          <Chart
            title="Loss"
            steps={STEPS}
            weight={0.8}
            series={[
              { label: 'training', values: loss, color: '--series-1', smooth: true },
              { label: 'validation', values: validation, color: '--series-2', dots: true },
            ]}
          />
        </Example>
      </Section>
      <Section title="Code block">
        <Example name="code">
          <CodeBlock
            tabs={[
              { title: 'curl', code: 'curl http://127.0.0.1:8080/v1/models' },
              { title: 'Python', code: 'client.models.list()' },
            ]}
          />
        </Example>
      </Section>
    </Page>
  );
}

const Buttons = () => (
  <>
    <div className="bar">
      <Button variant="primary" icon={<Plus />}>
        New job
      </Button>
      <Button>Duplicate</Button>
      <Button variant="ghost">Cancel</Button>
      <Button variant="danger" icon={<Trash2 />}>
        Delete
      </Button>
      <Button disabled>Disabled</Button>
      <Button variant="primary" busy>
        Submitting…
      </Button>
    </div>
    <div className="bar">
      <Button size="s" icon={<Download />}>
        Download
      </Button>
      <Button size="s" variant="ghost">
        Clear
      </Button>
      <IconButton label="Download" icon={<Download />} />
      <ActionMenu
        label="Actions for tickets-lora-1"
        actions={[
          { label: 'Rename…', act: NOTHING },
          LINE,
          { label: 'Delete…', isDanger: true, act: NOTHING },
        ]}
      />
    </div>
  </>
);

const METHODS = [
  { value: 'LORA', label: 'LoRA', text: 'Small low-rank matrices', badge: 'Recommended' },
  { value: 'small', label: 'IA³', text: 'Three learned vectors per layer' },
];

function Fields() {
  const [method, setMethod] = useState('LORA');
  return (
    <div className="fields">
      <NumberField
        id="rank"
        label="Rank"
        value=""
        automatic="16"
        change={NOTHING}
        help="Size of the low-rank matrices"
        info={{ path: 'peft.r', text: 'Lora attention dimension (the "rank").' }}
      />
      <NumberField
        id="epochs"
        label="Epochs"
        value="500"
        unit="epochs"
        change={NOTHING}
        problem="Must be at most 50"
      />
      <Field id="base" label="Base model">
        <select id="base" defaultValue="SmolLM2-135M-Instruct">
          <option>SmolLM2-135M-Instruct</option>
        </select>
      </Field>
      <Field id="method" label="Method">
        <Combobox id="method" value={method} options={METHODS} change={setMethod} />
      </Field>
      <Field id="disabled" label="Disabled">
        <input id="disabled" disabled defaultValue="not available" />
      </Field>
      <Field id="note" label="Note">
        <textarea id="note" rows={2} placeholder="What you want to remember" />
      </Field>
    </div>
  );
}

function Choices() {
  const [length, setLength] = useState<'short' | 'standard' | 'thorough'>('standard');
  return (
    <div className="stack">
      <Segmented
        label="Length"
        value={length}
        change={setLength}
        choices={[
          ['short', 'Quick look'],
          ['standard', 'Standard'],
          ['thorough', 'Thorough'],
        ]}
      />
      <RadioCards
        label="Length with details"
        value={length}
        change={setLength}
        cards={[
          { value: 'short', title: 'Quick look', text: '40 steps, to see whether it learns' },
          { value: 'standard', title: 'Standard', text: 'Three epochs', badge: 'Recommended' },
          {
            value: 'thorough',
            title: 'Thorough',
            text: 'Twice as long, stops when it stops improving',
          },
        ]}
      />
    </div>
  );
}

const Messages = () => (
  <>
    <Callout>Shared its worker with another job: 12 s of 1 min 20 s spent waiting.</Callout>
    <Callout
      tone="warn"
      title="29 rows have no label."
      action={<Button size="s">Skip them</Button>}
    >
      Training needs a label in every row.
    </Callout>
    <Callout
      tone="error"
      title="The loss became NaN at step 3."
      action={<Button size="s">Clone with a lower learning rate</Button>}
    >
      The learning rate of 10 is too high.
    </Callout>
    <EmptyState
      icon={<Inbox />}
      title="No jobs yet"
      text="A job trains an adapter on your data. When it finishes, chat with it, download it or serve it."
      actions={
        <>
          <Button variant="primary">New job</Button>
          <Button>Use sample data</Button>
        </>
      }
    />
    <Skeleton height={36} rows={3} />
  </>
);

const Runs = () => (
  <Table columns={['Job', 'State', 'Accuracy', 'Trend']} numbers={['Accuracy']}>
    {STATES.map((status, n) => (
      <Row key={status}>
        <td>tickets-lora-{n + 1}</td>
        <td>
          <StateDot status={status} />
        </td>
        <td>{(96.7 - n).toFixed(1)} %</td>
        <td>
          <Sparkline values={loss} />
        </td>
      </Row>
    ))}
  </Table>
);
