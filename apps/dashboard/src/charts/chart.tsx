import { useEffect, useMemo, useRef, useState, type ReactNode } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { short } from '../format.js';
import { useDark } from '../browser/theme.js';
import {
  described,
  HEIGHT,
  linesOf,
  plotData,
  plotOptions,
  valueAt,
  type Line,
  type PlotProps,
} from './plot.js';

export { color, drawRing, type ChartSeries, type Ring } from './plot.js';

/** A control above a step, such as that of a checkpoint. */
export interface Pin {
  readonly step: number;
  readonly control: ReactNode;
}

export interface ChartProps extends PlotProps {
  readonly title: string;
  /** Accessible description of the chart. The default describes the first series. */
  readonly description?: string;
  /** Controls at the right of the title. */
  readonly actions?: ReactNode;
  readonly pins?: readonly Pin[];
}

const NO_PINS: readonly Pin[] = [];

/** Updates the data without resetting a zoom. A double click resets it. */
function update(plot: uPlot, data: uPlot.AlignedData): void {
  const { min, max } = plot.scales['x'] ?? {};
  const [steps] = plot.data;
  const zoomed =
    min != null && max != null && steps.length > 1 && (min > steps[0]! || max < steps.at(-1)!);
  plot.setData(data, !zoomed);
  if (zoomed) plot.redraw();
}

/** Returns the distances of steps from the left edge of the chart in pixels; null if a zoom hides a step. */
function placesOf(plot: uPlot, pins: readonly Pin[]): (number | null)[] {
  const left = plot.bbox.left / devicePixelRatio;
  const width = plot.bbox.width / devicePixelRatio;
  return pins.map(({ step }) => {
    const x = plot.valToPos(step, 'x');
    return x < -1 || x > width + 1 ? null : Math.round(left + x);
  });
}

/** A live chart over steps, with its legend and the values at the cursor. All charts of a page share their cursor. */
export function Chart(props: ChartProps) {
  const { title, steps, series, weight, log = false, over, height = HEIGHT, description } = props;
  const pins = props.pins ?? NO_PINS;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [hovered, setHovered] = useState<number | null>(null);
  const [places, setPlaces] = useState<readonly (number | null)[]>([]);
  const scheme = useDark();
  const shape = series.map((s) => s.label).join();
  const latest = useRef(props);
  latest.current = props;
  const lines = useMemo(
    () => linesOf({ steps, series, weight, log }),
    [steps, series, weight, log],
  );

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const drawn = (one: uPlot) => {
      const now = placesOf(one, latest.current.pins ?? NO_PINS);
      setPlaces((before) => (before.join() === now.join() ? before : now));
    };
    const width = () => element.clientWidth;
    const shown = () => latest.current;
    const made = new uPlot(
      plotOptions(shown, width() || 600, { hovered: setHovered, drawn }),
      plotData(shown().steps, linesOf(shown())),
      element,
    );
    plot.current = made;
    const resized = new ResizeObserver(
      () => width() > 0 && made.setSize({ width: width(), height }),
    );
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, log, scheme, height]);

  const marks = props.marks?.map(({ kind, step }) => `${kind}${step}`).join();
  const pinned = pins.map(({ step }) => step).join();
  useEffect(() => {
    if (plot.current) update(plot.current, plotData(steps, lines));
  }, [steps, lines, marks, pinned, props.ring]);
  return (
    <figure
      className={height < HEIGHT ? 'chart small-chart' : 'chart'}
      aria-label={description ?? described(title, props)}
      data-points={series[0]?.values.filter((v) => v !== null).length}
    >
      <figcaption className="chart-head">
        <span className="chart-title">{title}</span>
        <Legend
          lines={height < HEIGHT ? lines.filter(({ isMean }) => !isMean) : lines}
          at={hovered}
          step={height < HEIGHT ? undefined : (steps[hovered ?? -1] ?? null)}
          over={over}
        />
        {props.actions}
      </figcaption>
      <div className="plot" style={{ minHeight: height }}>
        <div ref={box} aria-hidden="true" />
        {pins.map(({ step, control }, n) =>
          places[n] == null ? null : (
            <div key={step} className="pin" style={{ left: places[n] }}>
              {control}
            </div>
          ),
        )}
      </div>
    </figure>
  );
}

interface LegendProps {
  readonly lines: readonly Line[];
  readonly at: number | null;
  /** Step at the cursor. Undefined leaves it out. */
  readonly step: number | null | undefined;
  readonly over?: string | undefined;
}

/** Names, colors and values of the lines: at the cursor, or the newest. */
const Legend = ({ lines, at, step, over = 'step' }: LegendProps) => (
  <span className="chart-legend">
    {step !== undefined && (
      <span className="legend-step">
        {over} <b>{step === null ? '' : short(step)}</b>
      </span>
    )}
    {lines.map((line, n) => (
      <span key={n} className="legend-line">
        <span
          className={line.isFaint ? 'series-swatch faint-swatch' : 'series-swatch'}
          style={{ background: `var(${line.color})` }}
        />
        <span className="legend-label">{line.label}</span> <b>{short(valueAt(line, at))}</b>
      </span>
    ))}
  </span>
);
