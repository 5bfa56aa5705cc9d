// Wrapper for component specs, with the providers of every page.
import {
  createMemoryHistory,
  createRootRoute,
  createRoute,
  createRouter,
  RouterProvider,
} from '@tanstack/react-router';
import { createContext, useContext, useState, type ReactNode } from 'react';
import { Above } from './ui/overlays/above.js';
import { parseSearch, stringifySearch } from './address.js';
import { Answers } from './api/loaded.js';

const Shown = createContext<ReactNode>(null);

function makeRouter() {
  const root = createRootRoute();
  const any = createRoute({
    getParentRoute: () => root,
    path: '$',
    component: () => <Above>{useContext(Shown)}</Above>,
  });
  return createRouter({
    routeTree: root.addChildren([any]),
    history: createMemoryHistory(),
    parseSearch,
    stringifySearch,
  });
}

/** Renders its children inside a router. Links have targets, but navigation does nothing. */
export function InApp({ children }: { children: ReactNode }) {
  const [router] = useState(makeRouter);
  return (
    <Answers>
      <Shown value={children}>
        <RouterProvider router={router as never} />
      </Shown>
    </Answers>
  );
}
