import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterEach, beforeEach } from 'vitest';
import { Agent, type AgentOptions } from '../src/agent/agent.js';
import type { Settings } from '../src/agent/settings.js';
import { ControlPlane, until } from './control-plane.js';

const SMALL_TRAINER = fileURLToPath(new URL('./small-trainer.mjs', import.meta.url));

/** Fixture of the agent's specs, new for every test: a listening control plane and a home folder. */
export interface Scene {
  home: string;
  plane: ControlPlane;
  agents: Agent[];
  /** Log lines of the agents. */
  lines: string[];
  startAgent(settings?: Partial<Settings>, options?: Partial<AgentOptions>): Promise<Agent>;
  /** Waits until the worker has requested work. */
  pulled(): Promise<void>;
  trainerPids(): number[];
  newHome(): void;
}

export function useScene(): Scene {
  const homes: string[] = [];
  const scene: Scene = {
    home: '',
    plane: new ControlPlane(),
    agents: [],
    lines: [],
    async startAgent(settings = {}, options = {}) {
      const agent = new Agent({
        settings: {
          address: `127.0.0.1:${scene.plane.port}`,
          tls: false,
          ca: null,
          token: 'join-me',
          pool: 'default',
          name: 'spec',
          slots: 2,
          maxChats: 16,
          home: scene.home,
          threads: 1,
          device: 'auto',
          trainerUser: null,
          cacheBytes: 1e9,
          idleUnloadMs: 60_000,
          offlineLimitMs: 600_000,
          drainMs: 5_000,
          logLevel: 'info',
          ...settings,
        },
        log: pino({ level: 'debug' }, { write: (line: string) => void scene.lines.push(line) }),
        trainerMain: SMALL_TRAINER,
        backoff: { minMs: 50, maxMs: 200 },
        freeMemory: () => 8e9,
        ...options,
      });
      scene.agents.push(agent);
      await agent.start();
      return agent;
    },
    async pulled() {
      await until('a pull', () => scene.plane.pulls.length > 0, 20_000);
    },
    trainerPids: () => readdirSync(join(scene.home, 'trainers')).map((name) => parseInt(name, 10)),
    newHome() {
      scene.home = mkdtempSync(join(tmpdir(), 'graft-agent-'));
      homes.push(scene.home);
    },
  };
  beforeEach(async () => {
    scene.newHome();
    scene.plane = new ControlPlane();
    scene.agents = [];
    scene.lines = [];
    await scene.plane.listen();
  });
  afterEach(async () => {
    for (const agent of scene.agents) await agent.close();
    scene.plane.vanish();
    for (const home of homes.splice(0)) rmSync(home, { recursive: true, force: true });
  });
  return scene;
}

/** Keeps writing files to a folder, like a process that outlived its worker. Returns a function that stops it. */
export function writeInto(folder: string): () => void {
  let isOn = true;
  let files = 0;
  const write = (): void => {
    if (!isOn) return;
    try {
      writeFileSync(join(folder, String(++files % 50)), '');
    } catch (error) {
      // The worker moved the folder between two writes.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    setImmediate(write);
  };
  write();
  return () => void (isOn = false);
}

export function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
