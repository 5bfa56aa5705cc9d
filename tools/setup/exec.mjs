// Last part of the setup: runs the requested program in the foreground.
import { spawn } from 'node:child_process';

/**
 * Runs a program until it exits. Returns its exit code. The terminal sends Ctrl-C to the program itself; a signal to this
 * process alone is forwarded as SIGTERM (so that one Ctrl-C never looks like two). Waits for the program to shut down.
 */
export function runUntilItEnds(program, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', ...options });
    const passOn = () => child.kill('SIGTERM');
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, passOn);
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      for (const name of signals) process.off(name, passOn);
      resolve(code ?? (signal === 'SIGINT' ? 130 : 143));
    });
  });
}
