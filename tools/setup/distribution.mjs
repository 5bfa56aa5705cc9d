// Installs packages that only the tests need: a browser and a Redis server. Without them, their tests are skipped.
import { existsSync } from 'node:fs';
import { has, runShown } from './run.mjs';

const PACKAGES = [
  {
    package: 'chromium',
    programs: ['chromium', 'chromium-browser', 'google-chrome'],
    why: 'needed to test the dashboard in a browser',
  },
  {
    package: 'chromium-headless-shell',
    programs: ['chromium-headless-shell'],
    why: 'tests in a browser take half of the CPU with it',
  },
  {
    package: 'redis-server',
    programs: ['redis-server'],
    why: 'needed to run the queue contract on Redis',
  },
];

export function distributionStep() {
  const missing = () => PACKAGES.filter(({ programs }) => !programs.some(has));
  return {
    upToDate: () => missing().length === 0,
    async run(say) {
      const missingPackages = missing();
      for (const { package: name, why } of missingPackages)
        say(`${name} is not installed (${why})`);
      const names = missingPackages.map((wanted) => wanted.package);
      const command = `apt-get install -y --no-install-recommends ${names.join(' ')}`;
      if (process.getuid?.() !== 0 || !has('apt-get') || !existsSync('/etc/debian_version')) {
        say(
          `automatic installation needs root on Debian or Ubuntu (${command}); its tests will be skipped`,
        );
        return;
      }
      say(command);
      const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
      // Exit code 101 of policy-rc.d prevents the packages from starting services.
      const apt = (...args) =>
        runShown('apt-get', ['-qq', '-o', 'Dpkg::Use-Pty=0', ...args], {
          env: { ...env, RUNLEVEL: '1' },
        });
      const install = async (packages) =>
        (await apt('install', '-y', '--no-install-recommends', ...packages)) === 0;
      if (await install(names)) return;
      await apt('update');
      // Install one package at a time, because older distributions do not have all of them.
      for (const name of names)
        if (!(await install([name])))
          say(`installing ${name} failed (see above); the tests that need it will be skipped`);
    },
  };
}
