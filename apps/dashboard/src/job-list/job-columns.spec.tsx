// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { render, screen } from '@testing-library/react';
import { expect, it } from 'vitest';
import { COLUMNS } from './job-columns.js';

it('shows the quantization of a base model next to its name', () => {
  const cell = (quantization: string | null) =>
    COLUMNS['model']?.cell({ model: 'smollm2', graft: { quantization } } as unknown as JobObject);
  render(cell('nf4'));
  expect(screen.getByText('smollm2 (nf4)').title).toBe('smollm2 (nf4)');
  render(cell(null));
  screen.getByText('smollm2');
});
