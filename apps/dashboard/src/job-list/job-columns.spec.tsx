// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { render, screen } from '@testing-library/react';
import { expect, it } from 'vitest';
import { columns } from './job-columns.js';

it('shows the quantization of a base model next to its name', () => {
  const base = columns.find(({ id }) => id === 'model');
  const cell = base?.cell as (of: { row: { original: JobObject } }) => React.ReactNode;
  const job = (quantization: string | null) =>
    ({ model: 'smollm2', graft: { quantization } }) as unknown as JobObject;
  render(cell({ row: { original: job('nf4') } }));
  expect(screen.getByText('smollm2 (nf4)').title).toBe('smollm2 (nf4)');
  render(cell({ row: { original: job(null) } }));
  screen.getByText('smollm2');
});
