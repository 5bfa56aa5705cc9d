// Starts one Chromium for all browser specs of a run. Each test opens its own profile in it.
import { chromium } from 'playwright-core';
import type { TestProject } from 'vitest/node';
import { BROWSER_ARGS, findBrowser } from './browser-program.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** WebSocket address of the browser. Not set if no browser is installed. */
    browserEndpoint: string;
  }
}

export async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const executablePath = findBrowser();
  if (executablePath === null) return undefined;
  const server = await chromium.launchServer({
    executablePath,
    args: BROWSER_ARGS,
    headless: true,
  });
  project.provide('browserEndpoint', server.wsEndpoint());
  return () => server.close();
}
