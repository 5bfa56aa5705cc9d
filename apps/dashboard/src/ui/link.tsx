import { Link as RouterLink, type LinkComponent } from '@tanstack/react-router';
import { createElement, type ComponentType } from 'react';

const EXACT = { exact: true, includeSearch: false } as const;

/** A link to a page, which is marked as the current one at that page's very address only: a crumb to the jobs is not where a job is. */
export const Link = ((props: object) =>
  createElement(
    RouterLink as ComponentType<object>,
    {
      activeOptions: EXACT,
      ...props,
    } as object,
  )) as LinkComponent<'a'>;
