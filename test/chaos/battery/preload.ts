// Libraries that a process preloads: one makes disk operations fail while a file exists, one moves the clock.
import { execFileSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Every second fsync, fdatasync and rename fails with EIO while the file $GRAFT_TEST_DISK_FAILS exists. */
const SHIM = `
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <dlfcn.h>
#include <unistd.h>
static bool fails() {
  static std::atomic<unsigned> calls{0};
  const char *file = getenv("GRAFT_TEST_DISK_FAILS");
  return file && access(file, F_OK) == 0 && calls++ % 2 == 0;
}
template <class F> static F *next(const char *name) { return reinterpret_cast<F *>(dlsym(RTLD_NEXT, name)); }
extern "C" int fsync(int fd) {
  if (fails()) { errno = EIO; return -1; }
  return next<int(int)>("fsync")(fd);
}
extern "C" int fdatasync(int fd) {
  if (fails()) { errno = EIO; return -1; }
  return next<int(int)>("fdatasync")(fd);
}
extern "C" int rename(const char *from, const char *to) {
  if (fails()) { errno = EIO; return -1; }
  return next<int(const char *, const char *)>("rename")(from, to);
}
`;

const LIBFAKETIME = ['x86_64', 'aarch64']
  .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketime.so.1`)
  .find(existsSync);

/** Compiles the library that makes the disk fail. Returns null if there is no compiler. */
export function compileShim(dir: string): string | null {
  const [source, library] = [join(dir, 'shim.cpp'), join(dir, 'shim.so')];
  writeFileSync(source, SHIM);
  try {
    execFileSync('g++', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'], {
      stdio: 'ignore',
    });
    return library;
  } catch {
    return null;
  }
}

export class Preload {
  private readonly libraries: string[] = [];
  private readonly variables: Record<string, string> = {};
  private readonly diskFails: string;
  private readonly clock: string;
  readonly canFailDisk: boolean = false;
  readonly canMoveClock = LIBFAKETIME !== undefined;

  /**
   * @param dir folder for its files
   * @param shim result of `compileShim`
   */
  constructor(dir: string, shim: string | null) {
    this.diskFails = join(dir, 'disk-fails');
    this.clock = join(dir, 'clock');
    if (shim !== null) {
      this.libraries.push(shim);
      this.variables['GRAFT_TEST_DISK_FAILS'] = this.diskFails;
      this.canFailDisk = true;
    }
    if (LIBFAKETIME) {
      this.libraries.push(LIBFAKETIME);
      this.moveClock(0);
      Object.assign(this.variables, {
        FAKETIME_TIMESTAMP_FILE: this.clock,
        FAKETIME_CACHE_DURATION: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      });
    }
  }

  get env(): Record<string, string> {
    return this.libraries.length === 0
      ? {}
      : { ...this.variables, LD_PRELOAD: this.libraries.join(':') };
  }

  failDisk(fails: boolean): void {
    if (fails) writeFileSync(this.diskFails, '');
    else rmSync(this.diskFails, { force: true });
  }

  moveClock(seconds: number): void {
    // Replace the file atomically: libfaketime terminates a process that finds it empty.
    writeFileSync(`${this.clock}.new`, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`);
    renameSync(`${this.clock}.new`, this.clock);
  }
}
