// A seccomp filter as `setpriv --seccomp-filter` reads it: classic BPF instructions of eight bytes
// (struct sock_filter of linux/filter.h, struct seccomp_data of linux/seccomp.h).

const LOAD = 0x20;
const AND = 0x54;
const IS = 0x15;
const IS_AT_LEAST = 0x35;
const HAS_BITS = 0x45;
const RETURN = 0x06;

/** Offsets in struct seccomp_data. For an argument, the offset of its lower 32 bits. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const argument = (n: number): number => 16 + 8 * n;

const ALLOW = 0x7fff0000;
const failWith = (errno: number): number => 0x00050000 | errno;
const EPERM = 1;
/** Makes the caller fall back, as on a kernel without the call. */
const ENOSYS = 38;

const X32 = 0x40000000;
const CLONE_THREAD = 0x10000;
/** MAP_SHARED | MAP_ANONYMOUS. */
const SHARED_MEMORY = 0x21;
/** Signals for a file: F_SETOWN, F_SETSIG and F_SETOWN_EX of fcntl, FIOSETOWN and SIOCSPGRP of ioctl. */
const FCNTL_SIGNALS = [8, 10, 15];
const IOCTL_SIGNALS = [0x8901, 0x8902];

interface Calls {
  readonly architecture: number;
  /** Calls that fail with EPERM, regardless of their arguments. */
  readonly refused: readonly number[];
  /** Calls that fail with ENOSYS, as on a kernel without them. */
  readonly absent: readonly number[];
  readonly clone: number;
  readonly fcntl: number;
  readonly ioctl: number;
  readonly mmap: number;
  readonly prlimit: number;
}

/**
 * Same on both processors: pidfd_send_signal, pidfd_open, pidfd_getfd, fchmodat2, setxattrat and
 * removexattrat.
 */
const NEWER = [424, 434, 438, 452, 463, 466];
/** io_uring_setup and clone3, whose arguments a filter cannot read. */
const UNSEEN = [425, 435];

const CALLS: Readonly<Record<string, Calls>> = {
  x64: {
    architecture: 0xc000003e,
    refused: [
      ...[41, 53], // socket, socketpair
      ...[57, 58, 62, 200, 234, 129, 297], // fork, vfork, kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
      ...[101, 310, 311], // ptrace, process_vm_readv, process_vm_writev
      ...[141, 142, 144, 203, 251, 314], // setpriority, sched_setparam, _setscheduler, _setaffinity, ioprio_set, sched_setattr
      ...[29, 64, 68, 240, 319], // shmget, semget, msgget, mq_open, memfd_create
      ...[76, 77, 90, 91, 92, 93, 94, 268, 260], // truncate, ftruncate, chmod, fchmod, chown, fchown, lchown, fchmodat, fchownat
      ...[132, 235, 261, 280], // utime, utimes, futimesat, utimensat
      ...[188, 189, 190, 197, 198, 199], // setxattr, lsetxattr, fsetxattr, removexattr, lremovexattr, fremovexattr
      ...NEWER,
    ],
    absent: UNSEEN,
    clone: 56,
    fcntl: 72,
    ioctl: 16,
    mmap: 9,
    prlimit: 302,
  },
  // Not tested: never run on an arm64 processor.
  arm64: {
    architecture: 0xc00000b7,
    refused: [
      ...[198, 199], // socket, socketpair
      ...[129, 130, 131, 138, 240], // kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
      ...[117, 270, 271], // ptrace, process_vm_readv, process_vm_writev
      ...[140, 118, 119, 122, 30, 274], // setpriority, sched_setparam, _setscheduler, _setaffinity, ioprio_set, sched_setattr
      ...[194, 190, 186, 180, 279], // shmget, semget, msgget, mq_open, memfd_create
      ...[45, 46, 52, 53, 54, 55], // truncate, ftruncate, fchmod, fchmodat, fchownat, fchown
      ...[88], // utimensat
      ...[5, 6, 7, 14, 15, 16], // setxattr, lsetxattr, fsetxattr, removexattr, lremovexattr, fremovexattr
      ...NEWER,
    ],
    absent: UNSEEN,
    clone: 220,
    fcntl: 25,
    ioctl: 29,
    mmap: 222,
    prlimit: 261,
  },
};

/**
 * Returns the filter for a program that only computes and reads files; null if the calls of this processor
 * are not listed. It rejects sockets, signals to other processes, access to their memory, new processes
 * (clone may create threads), shared memory, and changes of a file's mode, owner, times and attributes, which
 * Landlock does not cover.
 */
export function systemCallFilter(processor: string): Buffer | null {
  const calls = CALLS[processor];
  if (!calls) return null;
  const refuse = instruction(RETURN, failWith(EPERM));
  return Buffer.concat([
    instruction(LOAD, ARCHITECTURE),
    instruction(IS, calls.architecture, { skip: 1 }),
    refuse,
    instruction(LOAD, NUMBER),
    instruction(IS_AT_LEAST, X32, { skipElse: 1 }),
    refuse,
    ...calls.refused.flatMap((number) => [instruction(IS, number, { skipElse: 1 }), refuse]),
    ...calls.absent.flatMap((number) => [
      instruction(IS, number, { skipElse: 1 }),
      instruction(RETURN, failWith(ENOSYS)),
    ]),
    ...where(calls.clone, [
      instruction(LOAD, argument(0)),
      instruction(HAS_BITS, CLONE_THREAD, { skip: 1 }),
      refuse,
    ]),
    ...where(calls.fcntl, [instruction(LOAD, argument(1)), ...refuseAny(FCNTL_SIGNALS)]),
    ...where(calls.ioctl, [instruction(LOAD, argument(1)), ...refuseAny(IOCTL_SIGNALS)]),
    ...where(calls.mmap, [
      instruction(LOAD, argument(3)),
      instruction(AND, SHARED_MEMORY),
      ...refuseAny([SHARED_MEMORY]),
    ]),
    // Limits of another process.
    ...where(calls.prlimit, [
      instruction(LOAD, argument(0)),
      instruction(IS, 0, { skip: 1 }),
      refuse,
    ]),
    instruction(RETURN, ALLOW),
  ]);
}

/** Runs `decide` for calls of this number. What it does not reject is allowed. */
function where(number: number, decide: readonly Buffer[]): Buffer[] {
  return [
    instruction(IS, number, { skipElse: decide.length + 1 }),
    ...decide,
    instruction(RETURN, ALLOW),
  ];
}

const refuseAny = (values: readonly number[]): Buffer[] =>
  values.flatMap((value) => [
    instruction(IS, value, { skipElse: 1 }),
    instruction(RETURN, failWith(EPERM)),
  ]);

/** Encodes an instruction. A comparison that holds skips the next `skip` ones, otherwise `skipElse`. */
function instruction(code: number, value: number, { skip = 0, skipElse = 0 } = {}): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(skip, 2);
  bytes.writeUInt8(skipElse, 3);
  bytes.writeUInt32LE(value, 4);
  return bytes;
}
