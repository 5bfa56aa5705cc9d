// What the loop itself measures of a step, whatever the task.
import type { MetricDescription } from '@graft/contracts';

export const RUN_METRICS: readonly MetricDescription[] = [
  {
    name: 'learning_rate',
    title: 'Learning rate',
    unit: null,
    draw: { smooth: false, log: false },
  },
  {
    // tokens / seconds of a step
    name: 'tokens_per_second',
    title: 'Throughput',
    unit: 'tokens/s',
    draw: { smooth: true, log: false },
  },
  {
    // before clipping
    name: 'grad_norm',
    title: 'Gradient norm',
    unit: null,
    draw: { smooth: true, log: true },
  },
];
