// The last thing the set-up does: become the program that was asked for, as far as a parent can.
import { spawn } from 'node:child_process';

/**
 * Runs a program to its end; its exit code. Ctrl-C reaches it through the terminal; a signal sent to this
 * process alone is passed on as SIGTERM (so a Ctrl-C never looks like two), and this process waits for the
 * orderly end.
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
