/** A group with its amount in each bucket. */
export interface Stack {
  readonly name: string;
  /** Custom property of its color. */
  readonly color: string;
  readonly values: readonly number[];
}

interface Props {
  readonly title: string;
  readonly total: string;
  readonly stacks: readonly Stack[];
  /** Labels of the buckets. */
  readonly labels: readonly string[];
  readonly format: (value: number) => string;
}

/** Bars over time with a segment for each group. The table of the page has the same numbers. */
export function StackedBars({ title, total, stacks, labels, format }: Props) {
  const sums = labels.map((_, n) => stacks.reduce((all, { values }) => all + (values[n] ?? 0), 0));
  const most = Math.max(...sums, 0);
  const peak = most === 0 ? 'nothing used' : `at most ${format(most)}`;
  return (
    <figure className="bars">
      <figcaption>
        <span>{title}</span>
        <b className="numbers">{total}</b>
      </figcaption>
      <div
        className="bars-plot"
        role="img"
        aria-label={`${title} over time: ${total} in all, ${peak}`}
      >
        <span className="bars-most numbers" aria-hidden="true">
          {most > 0 && format(most)}
        </span>
        {labels.map((label, n) => (
          <span
            key={label}
            className="bar-column"
            title={`${label}: ${format(sums[n] ?? 0)}${details(stacks, n, format)}`}
          >
            {most > 0 &&
              stacks.map(({ name, color, values }) => (
                <span
                  key={name}
                  style={{
                    height: `${((100 * (values[n] ?? 0)) / most).toFixed(2)}%`,
                    background: `var(${color})`,
                  }}
                />
              ))}
          </span>
        ))}
      </div>
      <div className="bars-axis faint" aria-hidden="true">
        <span>{labels[0]}</span>
        <span>{labels.at(-1)}</span>
      </div>
    </figure>
  );
}

function details(stacks: readonly Stack[], n: number, format: (value: number) => string): string {
  const used = stacks.filter(({ values }) => (values[n] ?? 0) > 0);
  if (used.length < 2) return '';
  return used.map(({ name, values }) => `\n${name}: ${format(values[n] ?? 0)}`).join('');
}
