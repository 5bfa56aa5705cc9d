// @vitest-environment happy-dom
import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, describe, expect, it } from 'vitest';
import { Fold } from './fold.js';

const shown = (reason: object | boolean | null) => (
  <Fold title="More" reason={reason}>
    inside
  </Fold>
);
const fold = () => screen.getByRole<HTMLDetailsElement>('group');
/** Toggles it like a click on its title. */
const toggle = (open: boolean) => {
  fold().open = open;
  fold().dispatchEvent(new Event('toggle'));
};

afterEach(cleanup);

describe('a fold', () => {
  it('opens for a reason, and stays open when the reason is gone', () => {
    const { rerender } = render(shown(null));
    expect(fold().open).toBe(false);
    rerender(shown({}));
    expect(fold().open).toBe(true);
    rerender(shown(null));
    expect(fold().open).toBe(true);
  });

  it('stays as the user left it until there is a new reason', () => {
    const first = {};
    const { rerender } = render(shown(first));
    expect(fold().open).toBe(true);
    toggle(false);
    rerender(shown(first));
    expect(fold().open).toBe(false);
    rerender(shown({}));
    expect(fold().open).toBe(true);
  });

  it('stays open if the user opened it', () => {
    const { rerender } = render(shown(false));
    toggle(true);
    rerender(shown(true));
    rerender(shown(false));
    expect(fold().open).toBe(true);
  });
});
