/** Work that others may come between: it yields the share that is done, 0 to 1. */
export type Work<T> = Generator<number, T, undefined>;
