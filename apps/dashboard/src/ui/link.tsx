import { Link as RouterLink, type LinkComponent } from '@tanstack/react-router';
import { createElement, type ComponentType } from 'react';

const EXACT = { exact: true, includeSearch: false } as const;

/**
 * Link to a page. It is marked as current only at exactly that address, so a breadcrumb to the jobs
 * is not current on a job's page.
 */
export const Link = ((props: object) =>
  createElement(
    RouterLink as ComponentType<object>,
    {
      activeOptions: EXACT,
      ...props,
    } as object,
  )) as LinkComponent<'a'>;
