// Metrics that the loop itself measures at each step, for every task.
import type { MetricDescription } from '@graft/contracts';
import type { InputKind } from '../nn/front-ends/registry.js';

const rate = (name: string, title: string, unit: string): MetricDescription => ({
  name,
  title,
  unit,
  draw: { smooth: true, log: false },
});

/** Metrics of the `media` of examples, by the task's input kind. */
const MEDIA: Partial<Record<InputKind, MetricDescription>> = {
  image: rate('images_per_second', 'Images', 'images/s'),
  audio: rate('audio_seconds_per_second', 'Audio', 's of audio/s'),
};

/** Metrics of a run whose task has these inputs. */
export function runMetrics(inputs?: InputKind): readonly MetricDescription[] {
  const media = inputs && MEDIA[inputs];
  return [
    {
      name: 'learning_rate',
      title: 'Learning rate',
      unit: null,
      draw: { smooth: false, log: false },
    },
    // tokens / seconds of a step
    rate('tokens_per_second', 'Throughput', 'tokens/s'),
    ...(media ? [media] : []),
    {
      // before clipping
      name: 'grad_norm',
      title: 'Gradient norm',
      unit: null,
      draw: { smooth: true, log: true },
    },
  ];
}

/** Media throughput by metric name; empty for tasks that read no media. */
export function mediaSpeed(
  inputs: InputKind | undefined,
  perSecond: number,
): Readonly<Record<string, number>> {
  const media = inputs && MEDIA[inputs];
  return media ? { [media.name]: perSecond } : {};
}
